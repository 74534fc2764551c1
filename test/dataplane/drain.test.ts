/** Needs root. What waits in the sockets of a stopped process, carried over and injected somewhere else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { promises } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { inNetns, setNetSysctl } from '../../src/linux/netns.ts';
import { PacketSender } from '../../src/linux/raw-socket.ts';
import { receiveMemory } from '../../src/linux/socket-memory.ts';
import type { CarriedDatagram } from '../../src/migration/ports.ts';
import { SandboxPackets } from '../../src/sdaemon/dataplane/destination-packets.ts';
import { DrainedSockets } from '../../src/sdaemon/dataplane/drain.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';
import { raiseReceiveBuffers } from '../../src/sdaemon/dataplane/receive-buffers.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { needs } from '../support/needs.ts';
import {
  delivered,
  ended,
  LINK_NAME,
  makeVm,
  type Program,
  SANDBOX_ADDRESS,
  SANDBOX_MAC,
  startProgram,
  type Vm,
} from './support.ts';

const OUTSIDE = '192.0.2.7';
const LOOPBACK = '127.0.0.1';
/** Fewer than a CPU's backlog holds (net.core.netdev_max_backlog): what is sent at once, with nobody to receive it. */
const BURST = 400;
const text = (datagram: CarriedDatagram): string =>
  [
    ...[datagram.sourceAddress, datagram.destinationAddress].map((address) => Array.from(address).join('.')),
    ...[datagram.sourcePort, datagram.destinationPort],
    Buffer.from(datagram.payload).toString('latin1'),
  ].join(' ');

const datagram = (from: string, to: string, ports: readonly [number, number], payload: string): CarriedDatagram => ({
  sourceAddress: ipv4Bytes(from),
  destinationAddress: ipv4Bytes(to),
  sourcePort: ports[0],
  destinationPort: ports[1],
  payload: Buffer.from(payload, 'latin1'),
});

describe('drain', { skip: needs('root', 'ip') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  const readiness = new Readiness(() => performance.now());

  // libuv's pool must have been used before any namespace is changed.
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  const packetsOf = (vm: Vm, pid: number): SandboxPackets => {
    const network = { linkName: LINK_NAME, address: SANDBOX_ADDRESS, mac: SANDBOX_MAC, pid };
    const packets = inNetns(vm.netns, () => new SandboxPackets(network));
    undo(() => packets.close());
    return packets;
  };

  async function stoppedHolder(
    vm: Vm,
  ): Promise<{ readonly pid: number; readonly child: Program; readonly drain: DrainedSockets }> {
    const { pid, child } = await startProgram(undo, vm.sandbox, 'socket-holder', [SANDBOX_ADDRESS, OUTSIDE]);
    const drain = new DrainedSockets(pid, { readiness, receiveLimitBytes: 16 << 20 });
    child.kill('SIGSTOP');
    return { pid, child, drain };
  }

  async function collect(drain: DrainedSockets, timeoutMs = 20_000): Promise<CarriedDatagram[]> {
    const carried: CarriedDatagram[] = [];
    await delivered();
    const { dropped } = await drain.drain((one) => void carried.push(one), timeoutMs);
    assert.equal(dropped, 0);
    return carried;
  }

  test('every kind of socket and of datagram comes out with its addresses, and goes in again as it was', async () => {
    const source = makeVm(undo, { routed: true });
    const { pid, drain } = await stoppedHolder(source);
    const before = packetsOf(source, pid);
    const sent = [
      datagram(OUTSIDE, SANDBOX_ADDRESS, [9001, 7001], 'to any'),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [9001, 7001], ''),
      datagram(LOOPBACK, LOOPBACK, [9002, 7001], 'loopback'),
      datagram(SANDBOX_ADDRESS, SANDBOX_ADDRESS, [9002, 7001], 'from its own address'),
      datagram(SANDBOX_ADDRESS, LOOPBACK, [9002, 7001], 'own address to loopback'),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [9001, 7001], 'x'.repeat(65_507)),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [9001, 7001], 'y'.repeat(1473)),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [1, 7002], 'to one address'),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [9003, 7003], 'to the connected one'),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [65_535, 7004], 'IPv4 on an IPv6 socket'),
      datagram(OUTSIDE, SANDBOX_ADDRESS, [65_535, 7004], ''),
    ];
    for (const one of sent) before.inject(one);
    const carried = await collect(drain);
    assert.deepEqual(carried.map(text), sent.map(text));
    assert.deepEqual(await collect(drain), [], 'a drain takes everything');

    // The same again at another place gives the same there.
    const destination = makeVm(undo, { routed: false });
    const other = await stoppedHolder(destination);
    const after = packetsOf(destination, other.pid);
    await after.hold();
    for (const one of carried) after.inject(one);
    assert.deepEqual((await collect(other.drain)).map(text), sent.map(text), 'injected past the hold');
    await after.discard();
  });

  test('IPv6 datagrams, from the network and from inside', async () => {
    const vm = makeVm(undo, { routed: true });
    const on = (where: number, ...commands: string[]): void =>
      inNetns(where, () => {
        for (const command of commands) execFileSync('ip', command.split(' '));
      });
    inNetns(vm.sandbox, () => setNetSysctl('ipv6/conf/eth0/disable_ipv6', 0));
    on(vm.sandbox, '-6 addr add 2001:db8::5/128 dev eth0 nodad', '-6 route add default dev eth0');
    const { pid, drain } = await stoppedHolder(vm);
    const packets = packetsOf(vm, pid);
    const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
    const own = bytes('20010db8000000000000000000000005');
    const outside = bytes('20010db8000000010000000000000009');
    const localhost = bytes('00000000000000000000000000000001');
    const sent: CarriedDatagram[] = [
      [outside, own, 'six'],
      [outside, own, ''],
      [outside, own, 'z'.repeat(5000)],
      [localhost, localhost, 'inside'],
    ].map(([from, to, payload]) => ({
      sourceAddress: from as Buffer,
      sourcePort: 9,
      destinationAddress: to as Buffer,
      destinationPort: 7004,
      payload: Buffer.from(payload as string),
    }));
    for (const one of sent) packets.inject(one);
    assert.deepEqual((await collect(drain)).map(text), sent.map(text));
  });

  test('what comes while it drains comes too, until it is quiet, and no longer than the time allowed', async () => {
    const vm = makeVm(undo, { routed: true });
    const { pid } = await stoppedHolder(vm);
    const packets = packetsOf(vm, pid);
    const drain = new DrainedSockets(pid, { readiness, quietMs: 2_500 });
    let sent = 0;
    const send = (): void => packets.inject(datagram(OUTSIDE, SANDBOX_ADDRESS, [1, 7001], `${sent++}`));
    send();
    const trickle = setInterval(() => (sent < 20 ? send() : clearInterval(trickle)), 5);
    assert.equal((await collect(drain, 10_000)).length, 20);
    send();
    const endless = setInterval(send, 1);
    const carried = await collect(drain, 100);
    clearInterval(endless);
    assert.ok(carried.length > 0);
  });

  test('datagrams that found a full queue are counted, from the freeze on', async () => {
    const vm = makeVm(undo, { routed: true });
    const { pid, child } = await startProgram(undo, vm.sandbox, 'socket-holder', [SANDBOX_ADDRESS, OUTSIDE]);
    child.kill('SIGSTOP');
    const packets = packetsOf(vm, pid);
    const flood = async (count: number): Promise<void> => {
      for (let number = 0; number < count; number++) {
        packets.inject(datagram(OUTSIDE, SANDBOX_ADDRESS, [1, 7001], String(number)));
        if (number % BURST === 0) await delivered();
      }
      await delivered();
    };
    await flood(2000);
    const drain = new DrainedSockets(pid, { readiness });
    await flood(500);
    const carried: CarriedDatagram[] = [];
    const { dropped } = await drain.drain((one) => void carried.push(one), 20_000);
    assert.equal(dropped, 500, 'the 2,000 of before are not the migration’s');
    assert.deepEqual(
      carried.map((one) => Buffer.from(one.payload).toString()).slice(0, 100),
      [...Array(100).keys()].map(String),
    );
  });

  test('raised buffers hold a second at 10,000 a second', async () => {
    const vm = makeVm(undo, { routed: true });
    const { pid, child } = await startProgram(undo, vm.sandbox, 'socket-holder', [SANDBOX_ADDRESS, OUTSIDE]);
    assert.deepEqual(raiseReceiveBuffers(pid), { sockets: 4, raised: 4 });
    assert.deepEqual(raiseReceiveBuffers(pid), { sockets: 4, raised: 0 });
    child.kill('SIGSTOP');
    const packets = packetsOf(vm, pid);
    const drain = new DrainedSockets(pid, { readiness });
    for (let number = 0; number < 10_000; number++) {
      packets.inject(datagram(OUTSIDE, SANDBOX_ADDRESS, [1, 7001], `${number}`.padStart(64)));
      if (number % BURST === 0) await delivered();
    }
    const carried = await collect(drain, 5000);
    assert.deepEqual(
      carried.map((one) => Number(Buffer.from(one.payload).toString())),
      [...Array(10_000).keys()],
    );
  });

  test('the sockets are as they were afterwards, and nothing stays open', async () => {
    const vm = makeVm(undo, { routed: true });
    const { pid, drain } = await stoppedHolder(vm);
    const openBefore = (await promises.readdir('/proc/self/fd')).length;
    await collect(drain);
    assert.equal((await promises.readdir('/proc/self/fd')).length, openBefore);
    const sockets = openUdpSockets(pid);
    assert.equal(sockets.length, 4);
    assert.ok(sockets.every(({ descriptor }) => receiveMemory(descriptor).usedBytes === 0));
    closeSockets(sockets);
  });

  test('where there is no process, nothing waits', async () => {
    const vm = makeVm(undo, { routed: true });
    const { drain, child } = await stoppedHolder(vm);
    child.kill('SIGKILL');
    await ended(child);
    assert.deepEqual(await collect(drain), []);
  });

  test('a datagram that no packet can carry is refused', () => {
    const vm = makeVm(undo, { routed: true });
    const packets = packetsOf(vm, process.pid);
    const error = { code: 'peer.protocol' };
    assert.throws(() => packets.inject(datagram(OUTSIDE, SANDBOX_ADDRESS, [1, 2], 'x'.repeat(65_508))), error);
  });

  test('what is from inside would not arrive over the link', async () => {
    // Why there is a second way in: a raw packet with such a source is dropped on the link, silently.
    const vm = makeVm(undo, { routed: true });
    const { drain } = await stoppedHolder(vm);
    using sender = inNetns(vm.netns, () => new PacketSender(4));
    const one = datagram(SANDBOX_ADDRESS, SANDBOX_ADDRESS, [1, 7001], 'martian');
    sender.trySend(encodePackets(one, 1500, 1)[0]!, ipv4Bytes(SANDBOX_ADDRESS));
    assert.deepEqual(await collect(drain), []);
  });
});
