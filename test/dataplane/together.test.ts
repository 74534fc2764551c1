/**
 * Needs root. The packets of a migration without the engine:
 *
 *     client ── router ──┬── VM 1 ── sandbox, its server is stopped for good
 *                        └── VM 2 ── sandbox of the same address, a server that has got nothing yet
 *
 * While numbers keep coming, the first server stops, the route changes, and what it had not read is handed over. Both
 * servers together must have every number exactly once, and in order.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { promises } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, type TestContext, test } from 'node:test';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { PacketSender } from '../../src/linux/raw-socket.ts';
import { findDiscipline, getLink, listRoutes, listRules, replaceRoute } from '../../src/linux/rtnetlink/index.ts';
import { receiveMemory } from '../../src/linux/socket-memory.ts';
import { decodeDestinationMessage, decodeSourceMessage, encodeMessage } from '../../src/migration/codec.ts';
import { type DestinationMessage, MAX_MESSAGE_BYTES, type SourceMessage } from '../../src/migration/messages.ts';
import type { CarriedDatagram } from '../../src/migration/ports.ts';
import { SecureChannel } from '../../src/sdaemon/channel/channel.ts';
import { connectToPeer, PeerListener } from '../../src/sdaemon/channel/establish.ts';
import { SandboxPackets } from '../../src/sdaemon/dataplane/destination-packets.ts';
import { DrainedSockets } from '../../src/sdaemon/dataplane/drain.ts';
import { closeSockets, openUdpSockets } from '../../src/sdaemon/dataplane/process-sockets.ts';
import { RECEIVE_LIMIT_BYTES, raiseReceiveBuffers } from '../../src/sdaemon/dataplane/receive-buffers.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { needs } from '../support/needs.ts';
import {
  ended,
  hasRead,
  joinNetns,
  LINK_NAME,
  makeNetns,
  makeVm,
  SANDBOX_ADDRESS,
  SANDBOX_MAC,
  startProgram,
  type Vm,
} from './support.ts';

const PORT = '5006';
const STOP_MS = 100;
/** Numbers that no client sends. */
const FROM_DESTINATION = 1e9;
const FROM_SOURCE = FROM_DESTINATION + 1;
const wait = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('the packets of a migration', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  const readiness = new Readiness(() => performance.now());
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  const makeNetwork = () => {
    const client = makeNetns(undo);
    const router = makeNetns(undo);
    const source = makeVm(undo, { routed: true });
    const destination = makeVm(undo, { routed: false });
    joinNetns({ ...router, link: 'clients', address: '10.1.0.1' }, { ...client, link: 'uplink', address: '10.1.0.2' });
    joinNetns({ ...router, link: 'vm1', address: '10.2.1.1' }, { ...source, link: 'uplink', address: '10.2.1.2' });
    joinNetns({ ...router, link: 'vm2', address: '10.2.2.1' }, { ...destination, link: 'uplink', address: '10.2.2.2' });
    for (const [{ routes }, gateway] of [
      [client, '10.1.0.1'],
      [source, '10.2.1.1'],
      [destination, '10.2.2.1'],
    ] as const)
      routes.apply(replaceRoute({ destination: 'default', link: getLink(routes, 'uplink').index, gateway }));
    const leadTo = (link: string, gateway: string): void =>
      router.routes.apply(
        replaceRoute({ destination: SANDBOX_ADDRESS, link: getLink(router.routes, link).index, gateway }),
      );
    leadTo('vm1', '10.2.1.2');
    return { client, source, destination, leadToDestination: () => leadTo('vm2', '10.2.2.2') };
  };

  function sendFrom(vm: Vm, address: string, number: number): void {
    const payload = Buffer.alloc(32);
    payload.writeUInt32LE(number);
    const destinationAddress = ipv4Bytes(SANDBOX_ADDRESS);
    const datagram = {
      sourceAddress: ipv4Bytes(address),
      sourcePort: 9,
      destinationAddress,
      destinationPort: Number(PORT),
      payload,
    };
    using sender = inNetns(vm.netns, () => new PacketSender(4));
    assert.ok(sender.trySend(encodePackets(datagram, 1500, number)[0]!, destinationAddress));
  }

  async function somethingWaitsAt(pid: number): Promise<void> {
    const sockets = openUdpSockets(pid);
    while (sockets.every(({ descriptor }) => receiveMemory(descriptor).usedBytes === 0)) await wait(1);
    closeSockets(sockets);
  }

  async function connect(source: Vm, destination: Vm) {
    const options = { key: randomBytes(32), maxMessageBytes: MAX_MESSAGE_BYTES, readiness };
    const address = { address: ipv4Bytes('10.2.2.2'), port: 0 };
    const listener = inNetns(destination.netns, () => new PeerListener(address, options));
    const port = listener.port;
    const { connecting } = inNetns(source.netns, () => ({
      connecting: connectToPeer({ ...address, port }, 20_000, options),
    }));
    const [near, far] = await Promise.all([connecting, listener.accept(20_000)]);
    listener.close();
    const sender = new SecureChannel<SourceMessage, DestinationMessage>(
      near,
      { encode: encodeMessage, decode: decodeDestinationMessage },
      MAX_MESSAGE_BYTES,
      readiness,
    );
    const receiver = new SecureChannel<DestinationMessage, SourceMessage>(
      far,
      { encode: encodeMessage, decode: decodeSourceMessage },
      MAX_MESSAGE_BYTES,
      readiness,
    );
    undo(() => {
      sender.close();
      receiver.close();
    });
    return { sender, receiver };
  }

  async function receiveAll(
    receiver: SecureChannel<DestinationMessage, SourceMessage>,
    packets: SandboxPackets,
  ): Promise<number> {
    for (let injected = 0; ; ) {
      const message = await receiver.receive(20_000);
      if (message.type === 'DRAINED') {
        assert.equal(message.total, injected);
        return injected;
      }
      assert.equal(message.type, 'DATAGRAMS');
      for (const datagram of message.type === 'DATAGRAMS' ? message.datagrams : []) {
        packets.inject(datagram);
        injected++;
      }
    }
  }

  async function migrateUnder(rate: number, context: TestContext): Promise<void> {
    const { client, source, destination, leadToDestination } = makeNetwork();
    const first = await startProgram(undo, source.sandbox, 'counting-server', [PORT]);
    const second = await startProgram(undo, destination.sandbox, 'counting-server', [PORT]);
    raiseReceiveBuffers(second.pid);
    const network = { linkName: LINK_NAME, address: SANDBOX_ADDRESS, mac: SANDBOX_MAC, pid: second.pid };
    const packets = inNetns(destination.netns, () => new SandboxPackets(network));
    undo(() => packets.close());
    const { sender, receiver } = await connect(source, destination);
    const route = { address: SANDBOX_ADDRESS, linkName: LINK_NAME };
    const drain = new DrainedSockets(first.pid, { readiness, route, receiveLimitBytes: RECEIVE_LIMIT_BYTES });
    await packets.hold();
    // The destination's own programs still find the sandbox where it runs.
    sendFrom(destination, '10.2.2.2', FROM_DESTINATION);
    await hasRead(first.pid);

    const load = await startProgram(undo, client.netns, 'sender', [SANDBOX_ADDRESS, PORT, `${rate}`, 'Infinity']);
    await wait(300);
    drain.markFreeze();
    first.child.kill('SIGSTOP');
    await wait(STOP_MS);
    await somethingWaitsAt(first.pid);
    const routeChangedAt = performance.now();
    leadToDestination();
    const injecting = receiveAll(receiver, packets);
    const carried: CarriedDatagram[] = [];
    const { dropped } = await inNetns(source.netns, () => ({
      draining: drain.drain((datagram) => void carried.push(datagram), 20_000),
    })).draining;
    const drainedAt = performance.now();
    // What still comes to the machine that the sandbox has left goes after it.
    sendFrom(source, '10.2.1.2', FROM_SOURCE);
    const half = carried.length >> 1;
    await sender.send({ type: 'DATAGRAMS', first: 0, datagrams: carried.slice(0, half) });
    await sender.send({ type: 'DATAGRAMS', first: half, datagrams: carried.slice(half) });
    await sender.send({ type: 'DRAINED', total: carried.length });
    const injected = await injecting;
    const injectedAt = performance.now();
    const sandboxLink = getLink(destination.routes, LINK_NAME).index;
    while (findDiscipline(destination.routes, sandboxLink)?.waitingPackets === 0) await wait(1);
    const { held, lost } = await packets.release();
    const releasedAt = performance.now();
    load.child.kill('SIGTERM');
    const total = Number(/^done (\d+)$/.exec((await load.lines.next()).value as string)?.[1]);
    await hasRead(second.pid);

    first.child.kill('SIGCONT');
    const [before, after] = await Promise.all(
      [first, second].map(async ({ child, lines }) => {
        child.kill('SIGTERM');
        const { value } = await lines.next();
        await ended(child);
        return JSON.parse(value as string) as number[];
      }),
    );
    const toSandbox = (vm: Vm) =>
      listRoutes(vm.routes).filter((route) => route.destination === `${SANDBOX_ADDRESS}/32`);
    assert.equal(toSandbox(source).length, 0);
    assert.deepEqual(
      toSandbox(destination).map(({ table }) => table),
      [254],
    );
    assert.equal(listRules(destination.routes).length, 3, 'local, main and default');
    context.diagnostic(
      `${rate}/s: ${before!.length} served before, ${injected} injected, ${held} held, ${after!.length} served after; ` +
        `drain ${(drainedAt - routeChangedAt).toFixed(1)} ms, to the last injected ${(injectedAt - drainedAt).toFixed(1)} ms, ` +
        `release ${(releasedAt - injectedAt).toFixed(1)} ms`,
    );
    assert.deepEqual({ dropped, lost }, { dropped: 0, lost: 0 });
    assert.ok(injected > 0 && held > 0, 'both ways were taken');
    assert.ok(before!.includes(FROM_DESTINATION) && after!.includes(FROM_SOURCE), 'what the machines themselves sent');
    const fromClient = [...before!, ...after!].filter((number) => number < FROM_DESTINATION);
    assert.deepEqual(fromClient, [...Array(total).keys()]);
    assert.equal(before!.length + after!.length, total + 2);
  }

  for (const rate of [5_000, 10_000])
    test(`every number once and in order at ${rate} a second`, async (context) => migrateUnder(rate, context));
});
