/** Needs root. Where the log begins, what is in it, and how it ends. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { promises } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { decodeDatagram, decodePacket } from '../../src/base/packets/decode.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { ETHER_TYPE, encodeFrame } from '../../src/base/packets/ethernet.ts';
import type { LogEntry } from '../../src/base/traffic-log.ts';
import { POLL, pollNow } from '../../src/linux/file-descriptors.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { FrameSender } from '../../src/linux/packet-socket.ts';
import { PacketTap } from '../../src/linux/packet-tap.ts';
import { receiveOnAnyCpu } from '../../src/linux/receive-cpu.ts';
import {
  addAddress,
  deleteLink,
  getLink,
  RouteSocket,
  replaceRoute,
  setNoQueue,
} from '../../src/linux/rtnetlink/index.ts';
import { forceReceiveLimit } from '../../src/linux/socket-memory.ts';
import { SOL_SOCKET, sendNow, tryGetSocketOption, trySetSocketOption } from '../../src/linux/sockets.ts';
import { digestOf } from '../../src/replication/digest.ts';
import { EgressCut } from '../../src/replication/egress-cut.ts';
import { TrafficTap } from '../../src/replication/tap.ts';
import { delivered, GATEWAY_ADDRESS, LINK_NAME, makeVm, SANDBOX_ADDRESS, type Vm } from '../dataplane/support.ts';
import { needs } from '../support/needs.ts';
import {
  injectorInto,
  inputsOf,
  type OwnSocket,
  occupy,
  openSocket,
  PORT,
  payloadOf,
  portUnreachable,
  stamping,
  startSender,
  until,
} from './support.ts';

const REMOTE = '192.0.2.7';
const SO_TIMESTAMP = 29;
const SO_TIMESTAMPNS = 35;
const SO_PEEK_OFF = 42;

describe('the traffic tap', { skip: needs('root', 'ip', 'tc', 'ethtool', 'python3') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  let endStamping: () => void;
  before(async () => {
    endStamping = await stamping();
  });
  after(() => endStamping());
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  function openTap(pid: number, sockets: readonly OwnSocket[], bufferBytes = 64 << 20): TrafficTap {
    const tap = TrafficTap.open({ pid, linkName: 'eth0', address: SANDBOX_ADDRESS, sockets, bufferBytes });
    undo(() => tap.close());
    return tap;
  }

  function watched(ends: readonly Parameters<typeof openSocket>[2][] = [{ port: PORT }], bufferBytes?: number) {
    const vm = makeVm(undo, { routed: true });
    // Else the VM would say that it knows no way there.
    vm.routes.apply(replaceRoute({ destination: REMOTE, type: 'blackhole' }));
    const pid = occupy(undo, vm.sandbox);
    const sockets = ends.map((end) => openSocket(undo, vm.sandbox, end));
    const tap = openTap(pid, sockets, bufferBytes);
    return { vm, pid, sockets, tap, ...injectorInto(undo, vm) };
  }

  /** Reads until so many entries have come, and none more for a moment. */
  async function logOf(tap: TrafficTap, count: number): Promise<LogEntry[]> {
    const log: LogEntry[] = [];
    await until(`${count} entries have come`, () => {
      log.push(...tap.read(1000));
      return log.length >= count;
    });
    await sleep(20);
    log.push(...tap.read(1000));
    return log;
  }

  const option = (socket: number, number: number): number => {
    const value = tryGetSocketOption(socket, SOL_SOCKET, number, 4);
    assert.ok(typeof value !== 'number');
    return value.readInt32LE(0);
  };
  const setOption = (socket: number, number: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    assert.equal(trySetSocketOption(socket, SOL_SOCKET, number, bytes), 0);
  };
  async function arrived(socket: OwnSocket): Promise<void> {
    await until('something waits', () => (pollNow(socket.descriptor, POLL.IN) & POLL.IN) !== 0);
    await delivered();
  }

  for (const consumed of [0, 1, 777, 1200, 2000])
    test(`the log begins with what waits, exactly, among equal payloads: ${consumed} of 2,000 taken`, async () => {
      const { tap, sockets, inject } = watched();
      for (let n = 0; n < 2000; n++) {
        inject(Buffer.from('all alike'));
        // More than a CPU's backlog holds: the one that receives may stand still for a moment.
        if (n % 400 === 0) await delivered();
        // What has been read from the tap before makes no difference.
        if (n === 1500) assert.deepEqual(tap.read(10), [], 'nothing before the mark');
      }
      await arrived(sockets[0]!);
      for (let n = 0; n < consumed; n++) assert.ok(sockets[0]!.take() !== undefined);
      tap.mark(sockets);
      for (let n = 0; n < 10; n++) inject(Buffer.from(`${n}`));
      const log = inputsOf(await logOf(tap, 2000 - consumed + 10));
      assert.equal(log.length, 2000 - consumed + 10);
      assert.deepEqual(log.slice(-10).map(payloadOf), [...Array(10).keys()].map(String));
      assert.deepEqual(
        log.map(({ index }) => index),
        [...log.keys()],
      );
      for (let n = consumed; n < 2000; n++)
        assert.equal(sockets[0]!.take()?.toString(), 'all alike', 'all is in place');
    });

  /** Something happens when this socket is looked at, before it is. */
  const beforeLook = (socket: OwnSocket, happens: () => void): OwnSocket => ({
    ...socket,
    get descriptor() {
      happens();
      return socket.descriptor;
    },
  });

  test('packets do not stand still with the process: what comes while its queues are looked at is input, once', async () => {
    const { tap, sockets, inject } = watched([{ port: 7000 }, { port: 7001 }, { port: 7002 }]);
    inject(Buffer.from('read'), { to: 7001 });
    await arrived(sockets[1]!);
    sockets[1]!.take();
    inject(Buffer.from('waited'), { to: 7000 });
    await arrived(sockets[0]!);
    const all = [7000, 7001, 7002];
    tap.mark([
      sockets[0]!,
      beforeLook(sockets[1]!, () => {
        for (const to of all) inject(Buffer.from('between'), { to });
      }),
      sockets[2]!,
    ]);
    for (const to of all) inject(Buffer.from('behind'), { to });
    const told = inputsOf(await logOf(tap, 7)).map(({ frames }) => decodePacket(Buffer.from(frames[0]!))!);
    const ofPort = (port: number) =>
      told.flatMap((part) => {
        const { destinationPort, payload } = decodeDatagram([part])!;
        return destinationPort === port ? [Buffer.from(payload).toString()] : [];
      });
    assert.deepEqual(all.map(ofPort), [
      ['waited', 'between', 'behind'],
      ['between', 'behind'],
      ['between', 'behind'],
    ]);
  });

  test('under traffic a position is always found', async () => {
    const { vm, pid, sockets, tap: first } = watched();
    first.close();
    vm.routes.apply(addAddress({ link: getLink(vm.routes, LINK_NAME).index, address: '192.0.2.1', prefixLength: 32 }));
    for (const name of [0, 1]) startSender(undo, vm.netns, name, 1e9, { burst: 1, pauseMs: 1 });
    await arrived(sockets[0]!);
    for (let round = 0; round < 100; round++) {
      using tap = openTap(pid, sockets, 8 << 20);
      // Where the queue is empty is where a datagram can come between the count and the look.
      for (let turns = 0; turns < 3; turns++) {
        while (sockets[0]!.take() !== undefined);
        await sleep(1);
      }
      while (sockets[0]!.take() !== undefined);
      tap.mark(sockets);
      await until('the log begins', () => tap.read(10).length > 0);
    }
  });

  test('each socket has a position of its own: bound to any address, to one, connected', async () => {
    const { tap, sockets, inject } = watched([
      { port: 7000 },
      { port: 7001, address: SANDBOX_ADDRESS },
      { port: 7002, address: SANDBOX_ADDRESS },
      { port: 7003, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } },
    ]);
    for (let n = 0; n < 5; n++)
      for (const to of [7000, 7001, 7002, 7003, 7999]) inject(Buffer.from(`${to}/${n}`), { to });
    inject(Buffer.from('not for the connected one'), { to: 7003, from: 10 });
    await arrived(sockets[3]!);
    for (const [place, taken] of [0, 2, 5, 4].entries())
      for (let n = 0; n < taken; n++) assert.ok(sockets[place]!.take() !== undefined);
    tap.mark(sockets);
    const unread = ['7000/0', '7000/1', '7001/2', '7000/2', '7001/3', '7000/3', '7001/4', '7000/4', '7003/4'];
    const log = inputsOf(await logOf(tap, 9)).map(payloadOf);
    assert.deepEqual(log.toSorted(), unread.toSorted());
    assert.deepEqual(
      log.filter((text) => text.startsWith('7000')),
      unread.filter((text) => text.startsWith('7000')),
    );
  });

  test('an IPv6 socket that takes IPv4 datagrams has a position like any other', async () => {
    const { tap, sockets, inject } = watched([{ port: PORT, dualStack: true }, { port: 7001 }]);
    for (let n = 0; n < 5; n++) inject(Buffer.from(`${n}`));
    await arrived(sockets[0]!);
    sockets[0]!.take();
    sockets[0]!.take();
    tap.mark(sockets);
    assert.deepEqual(inputsOf(await logOf(tap, 3)).map(payloadOf), ['2', '3', '4']);
  });

  test('zero-length datagrams, fragments and IPv4 datagrams of any length', async () => {
    const { tap, sockets, inject } = watched();
    const payloads = ['', 'x', 'y'.repeat(1472), 'z'.repeat(1473), 'w'.repeat(65_507), ''];
    for (const text of payloads) inject(Buffer.from(text));
    await arrived(sockets[0]!);
    for (let taken = 0; taken < 3; taken++) sockets[0]!.take();
    tap.mark(sockets);
    const log = inputsOf(await logOf(tap, 3));
    assert.deepEqual(log.map(payloadOf), payloads.slice(3));
    assert.deepEqual(
      log.map(({ frames }) => frames.length),
      [2, 45, 1],
    );
  });

  test('the sockets are left as they were', async () => {
    const { tap, sockets, inject } = watched([{ port: 7000 }, { port: 7001 }, { port: 7002 }]);
    const [plain, stamped, offset] = sockets.map(({ descriptor }) => descriptor) as [number, number, number];
    setOption(stamped, SO_TIMESTAMP, 1);
    setOption(offset, SO_PEEK_OFF, 3);
    for (const to of [7000, 7001, 7002]) inject(Buffer.from('hello'), { to });
    for (const one of sockets) await arrived(one);
    tap.mark(sockets);
    assert.equal((await logOf(tap, 3)).length, 3);
    assert.deepEqual(
      [option(plain, SO_TIMESTAMP), option(plain, SO_TIMESTAMPNS), option(plain, SO_PEEK_OFF)],
      [0, 0, -1],
    );
    assert.deepEqual([option(stamped, SO_TIMESTAMP), option(stamped, SO_TIMESTAMPNS)], [1, 0]);
    assert.equal(option(offset, SO_PEEK_OFF), 3);
    for (const socket of sockets) assert.equal(socket.take()?.toString(), 'hello');
  });

  test('an error that waits in a socket stays there, and the log is refused', async () => {
    const remote = { address: REMOTE, port: 9 };
    const { tap, sockets, inject, send } = watched([{ port: PORT, address: SANDBOX_ADDRESS, remote }]);
    const { descriptor } = sockets[0]!;
    inject(Buffer.from('waits'));
    send(portUnreachable(PORT, remote));
    await until('an error waits', () => (pollNow(descriptor, POLL.IN) & POLL.ERR) !== 0);
    tap.mark(sockets);
    assert.notEqual(pollNow(descriptor, POLL.IN) & POLL.ERR, 0, 'the process will hear of it');
    assert.throws(() => tap.read(10), { code: 'replication.overrun' });
    // When it has, the mark can be made again.
    assert.throws(() => sockets[0]!.take(), { code: 'ECONNREFUSED' });
    tap.mark(sockets);
    assert.deepEqual(inputsOf(await logOf(tap, 1)).map(payloadOf), ['waits']);
  });

  test('an ICMP error that comes after the mark is input', async () => {
    const { tap, sockets, send } = watched();
    tap.mark(sockets);
    const packet = portUnreachable(PORT, { address: REMOTE, port: 9 });
    send(packet);
    const log = inputsOf(await logOf(tap, 1));
    assert.deepEqual(Buffer.from(log[0]!.frames[0]!), packet);
  });

  /** Two senders on two CPUs, a socket with one reader: how often the tap's order is not the socket's. */
  async function misplaced(spread: boolean): Promise<number> {
    const { vm, tap, sockets } = watched();
    vm.routes.apply(addAddress({ link: getLink(vm.routes, LINK_NAME).index, address: '192.0.2.1', prefixLength: 32 }));
    if (spread) inNetns(vm.sandbox, () => receiveOnAnyCpu('eth0'));
    tap.mark(sockets);
    const each = 15_000;
    const senders = [0, 1].map((name) => startSender(undo, vm.netns, name, each));
    const seen: string[] = [];
    const log: string[] = [];
    let running = true;
    void Promise.all(senders.map(({ ended }) => ended))
      .then(() => delivered())
      .then(() => (running = false));
    const drain = (): number => {
      const before = seen.length + log.length;
      for (let payload = sockets[0]!.take(); payload !== undefined; payload = sockets[0]!.take())
        seen.push(payload.toString('latin1'));
      log.push(...inputsOf(tap.read(10_000)).map(payloadOf));
      return seen.length + log.length - before;
    };
    while (running) {
      drain();
      await sleep(1);
    }
    while (drain() > 0);
    // A CPU that was given too many at once has lost some before anybody saw them.
    assert.ok(seen.length > each, `only ${seen.length} came`);
    assert.equal(log.length, seen.length);
    assert.equal(tap.socketDrops(), 0);
    return log.filter((text, place) => text !== seen[place]).length;
  }

  test('the tap sees the order in which the socket gets them', async () => {
    assert.equal(await misplaced(false), 0);
  });

  test('without one CPU that receives it does not, and such a link is refused', async (context) => {
    let wrong = 0;
    for (let round = 0; round < 5 && wrong === 0; round++) wrong = await misplaced(true);
    // Chance keeps the order where the machine has one CPU to give.
    context.diagnostic(`${wrong} places differ`);
    const vm = makeVm(undo, { routed: true });
    inNetns(vm.sandbox, () => receiveOnAnyCpu('eth0'));
    const message = /received by any CPU/;
    assert.throws(() => openTap(occupy(undo, vm.sandbox), []), { code: 'replication.unsuitable', message });
  });

  test('a link is refused whose packets are merged, left without checksums, queued, or whose neighbour is asked for', () => {
    const refused = (message: RegExp, ...command: string[]): void => {
      const vm = makeVm(undo, { routed: true });
      inNetns(vm.sandbox, () => execFileSync(command[0]!, command.slice(1)));
      assert.throws(() => openTap(occupy(undo, vm.sandbox), []), { code: 'replication.unsuitable', message });
    };
    refused(/generic receive offload/, 'ethtool', '-K', 'eth0', 'gro', 'on');
    refused(/checksum offload/, 'ethtool', '-K', 'eth0', 'tx', 'on');
    refused(/neighbour 169.254.1.1/, 'ip', 'neigh', 'change', GATEWAY_ADDRESS, 'dev', 'eth0', 'nud', 'reachable');
    refused(/neighbour 10.99.0.0/, 'ip', 'route', 'add', '10.99.0.0/24', 'dev', 'eth0');
    refused(
      /queueing discipline/,
      'tc',
      'qdisc',
      'replace',
      'dev',
      'eth0',
      'root',
      'tbf',
      'rate',
      '1mbit',
      'burst',
      '9999',
      'latency',
      '1s',
    );
  });

  test('why: with a neighbour that is not known yet, what the process has sent is not seen', async () => {
    const { vm, tap, sockets } = watched([
      { port: PORT, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } },
    ]);
    tap.mark(sockets);
    // Its address is asked for, and nobody answers.
    inNetns(vm.sandbox, () => {
      execFileSync('ip', ['neigh', 'del', GATEWAY_ADDRESS, 'dev', 'eth0']);
    });
    inNetns(vm.netns, () => execFileSync('ip', ['link', 'set', LINK_NAME, 'arp', 'off']));
    for (let n = 0; n < 3; n++) sendNow(sockets[0]!.descriptor, Buffer.from('an answer'));
    await sleep(50);
    assert.deepEqual(tap.finish(), { inputs: 0, outputs: 0 });
    inNetns(vm.sandbox, () => {
      const entry = [
        'neigh',
        'replace',
        GATEWAY_ADDRESS,
        'lladdr',
        '02:00:a9:fe:01:01',
        'dev',
        'eth0',
        'nud',
        'permanent',
      ];
      execFileSync('ip', entry);
    });
    await until('they come after the end', () => tap.read(10).length >= 0 && tap.outputsAfterFinish === 3);
  });

  test('outputs are in the log by flow, from the mark on', async () => {
    const { tap, sockets } = watched([
      { port: 7000, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } },
      { port: 7001, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } },
    ]);
    const say = (socket: number, text: string): void => sendNow(sockets[socket]!.descriptor, Buffer.from(text));
    say(0, 'before');
    tap.mark(sockets);
    say(0, 'one');
    say(1, 'other');
    say(0, 'f'.repeat(4000));
    say(0, '');
    const log = await logOf(tap, 4);
    const flow = (localPort: number) => ({
      localAddress: ipv4Bytes(SANDBOX_ADDRESS),
      localPort,
      remoteAddress: ipv4Bytes(REMOTE),
      remotePort: 9,
    });
    const entry = (localPort: number, index: number, text: string) => ({
      kind: 'output',
      flow: flow(localPort),
      index,
      length: text.length,
      digest: digestOf(Buffer.from(text)),
    });
    assert.deepEqual(log, [
      entry(7000, 0, 'one'),
      entry(7001, 0, 'other'),
      entry(7000, 1, 'f'.repeat(4000)),
      entry(7000, 2, ''),
    ]);
    assert.deepEqual(tap.finish(), { inputs: 0, outputs: 4 });
  });

  test('the cut is before the tap: what is sent behind it is in no log, and what comes in goes on coming', async () => {
    const { pid, tap, sockets, inject } = watched([
      { port: PORT, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } },
    ]);
    using cut = new EgressCut({ pid }, 'eth0');
    const { descriptor } = sockets[0]!;
    cut.prepare();
    tap.mark(sockets);
    sendNow(descriptor, Buffer.from('before'));
    cut.cut();
    cut.cut();
    cut.settle();
    // Who sends notices nothing.
    sendNow(descriptor, Buffer.from('behind'));
    assert.deepEqual(tap.finish(), { inputs: 0, outputs: 1 });
    for (let n = 0; n < 5; n++) inject(Buffer.from('straggler'));
    const log = await logOf(tap, 6);
    assert.equal(inputsOf(log).length, 5);
    assert.equal(tap.outputsAfterFinish, 0);
    cut.restore();
    cut.restore();
    sendNow(descriptor, Buffer.from('again'));
    await until('both are seen', () => tap.read(10).length >= 0 && tap.outputsAfterFinish === 2);
    assert.ok(cut.isEmpty);
  });

  test('a cut between two packets of an answer is noticed; when the rest of it has left the log can be ended', async () => {
    const { vm, pid, tap, sockets } = watched();
    using cut = new EgressCut({ pid }, 'eth0');
    cut.prepare();
    tap.mark(sockets);
    const [sourceAddress, destinationAddress] = [ipv4Bytes(SANDBOX_ADDRESS), ipv4Bytes(REMOTE)];
    const ports = { sourcePort: PORT, destinationPort: 9 };
    const answer = { sourceAddress, destinationAddress, ...ports, payload: Buffer.alloc(4000) };
    const packets = encodePackets(answer, 1500, 77);
    assert.equal(packets.length, 3);
    const send = inNetns(vm.sandbox, () => new FrameSender(linkOf(vm), { bypass: false }));
    undo(() => send.close());
    const frames = packets.map((packet) => encodeFrame(Buffer.alloc(6), Buffer.alloc(6), ETHER_TYPE.IPV4, packet));
    assert.equal(tap.isHalfOut, false);
    send.trySend(frames[0]!);
    cut.cut();
    cut.settle();
    for (const frame of frames.slice(1)) send.trySend(frame);
    assert.ok(tap.isHalfOut);
    cut.restore();
    await until('it has left', () => cut.isEmpty);
    cut.cut();
    cut.settle();
    assert.equal(tap.isHalfOut, false);
    assert.deepEqual(tap.finish(), { inputs: 0, outputs: 1 });
  });

  test('a cut under load: what left before is in the log, and nothing else leaves, each time', async () => {
    // Room for all that is sent: this program may stand still for as long as that takes.
    const { vm, pid, tap, sockets } = watched([{ port: PORT }], 256 << 20);
    const { ended } = startSender(undo, vm.sandbox, 1, 200_000, { host: REMOTE, port: 9, burst: 200, pauseMs: 1 });
    using cut = new EgressCut({ pid }, 'eth0');
    cut.prepare();
    tap.mark(sockets);
    let seen = 0;
    const look = (): void => {
      for (let got = tap.read(1000); got.length > 0; got = tap.read(1000)) seen += got.length;
    };
    await until('something is sent', () => {
      look();
      return seen > 0;
    });
    for (let round = 0; round < 50; round++) {
      await sleep(5);
      look();
      cut.calibrate();
      cut.cut();
      cut.settle();
      look();
      const before = seen;
      await sleep(2);
      look();
      assert.equal(seen, before, `round ${round}`);
      cut.restore();
    }
    await ended;
    look();
    assert.ok(seen > 1000);
  });

  test('why: without the cut the end of the log misses what is still sent', async () => {
    const { tap, sockets } = watched([{ port: PORT, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } }]);
    tap.mark(sockets);
    assert.deepEqual(tap.finish(), { inputs: 0, outputs: 0 });
    sendNow(sockets[0]!.descriptor, Buffer.from('late'));
    await until('it is noticed', () => tap.read(10).length >= 0 && tap.outputsAfterFinish === 1);
  });

  test('a cut that a program has left behind is taken back by another one', () => {
    const { pid, sockets } = watched([{ port: PORT, address: SANDBOX_ADDRESS, remote: { address: REMOTE, port: 9 } }]);
    const first = new EgressCut({ pid }, 'eth0');
    first.cut();
    first.close();
    sendNow(sockets[0]!.descriptor, Buffer.from('heard'));
    using second = new EgressCut({ pid }, 'eth0');
    assert.equal(second.isEmpty, false);
    EgressCut.restoreAbandoned({ pid }, 'eth0');
    assert.ok(second.isEmpty);
    EgressCut.restoreAbandoned({ pid }, 'eth0');
  });

  test('a link without a hold is refused by name, and nothing has to be taken back', () => {
    const { vm, pid } = watched();
    inNetns(vm.sandbox, () => {
      using routes = new RouteSocket();
      routes.apply(setNoQueue(getLink(routes, 'eth0').index));
    });
    assert.throws(() => new EgressCut({ pid }, 'eth0'), { code: 'replication.unsuitable', message: /no hold/ });
    EgressCut.restoreAbandoned({ pid }, 'eth0');
  });

  test('a frame that the tap has no room for ends the log; so does one that it lost before, if something waited', async () => {
    const { tap, sockets, inject } = watched([{ port: PORT }], 64 << 10);
    tap.mark(sockets);
    for (let n = 0; n < 500; n++) inject(Buffer.alloc(1000));
    await delivered();
    assert.throws(() => tap.read(10), { code: 'replication.overrun', message: /found no room/ });
    assert.throws(() => tap.finish(), { code: 'replication.overrun' });

    const before = watched([{ port: PORT }], 64 << 10);
    for (let n = 0; n < 500; n++) before.inject(Buffer.alloc(1000));
    await delivered();
    before.tap.mark(before.sockets);
    assert.throws(() => before.tap.read(10), { code: 'replication.overrun' });
  });

  test('when the link is gone the log is whole: it is read to its end, said, and can be finished', async () => {
    const { vm, tap, sockets, inject } = watched();
    tap.mark(sockets);
    for (let n = 0; n < 3; n++) inject(Buffer.from(`${n}`));
    await arrived(sockets[0]!);
    vm.routes.apply(deleteLink(LINK_NAME));
    const gone = { code: 'sandbox.not-running', message: /link of the sandbox is gone/ };
    await until('it is noticed', () => {
      try {
        return inputsOf(tap.read(1)).length === 0;
      } catch (thrown) {
        assert.equal((thrown as { code?: string }).code, gone.code);
        return true;
      }
    });
    assert.throws(() => tap.read(10), gone);
    assert.equal(tap.finish().inputs, 3);
  });

  test('what a full receive queue drops ends the log before an answer shows it; before the mark it is refused', async () => {
    const { tap, sockets, inject } = watched();
    forceReceiveLimit(sockets[0]!.descriptor, 64 << 10);
    tap.mark(sockets);
    for (let n = 0; n < 300; n++) inject(Buffer.alloc(1000));
    await delivered();
    assert.ok(tap.socketDrops() > 200);
    assert.throws(() => tap.read(300), { code: 'replication.overrun', message: /have dropped/ });
    assert.throws(() => tap.finish(), { code: 'replication.overrun', message: /have dropped/ });

    // A datagram that was dropped is in the tap, and would be input of the copy alone.
    const before = watched();
    forceReceiveLimit(before.sockets[0]!.descriptor, 64 << 10);
    for (let n = 0; n < 300; n++) before.inject(Buffer.alloc(1000));
    await delivered();
    before.tap.mark(before.sockets);
    assert.throws(() => before.tap.read(10), { code: 'replication.overrun', message: /dropped/ });

    // Where nothing waits, nothing that was dropped is missing.
    const taken = watched();
    forceReceiveLimit(taken.sockets[0]!.descriptor, 64 << 10);
    for (let n = 0; n < 300; n++) taken.inject(Buffer.alloc(1000));
    await delivered();
    while (taken.sockets[0]!.take() !== undefined);
    taken.tap.mark(taken.sockets);
    assert.deepEqual(taken.tap.read(10), []);
    assert.equal(taken.tap.socketDrops(), 0);
  });

  test('what waits since before the tap was opened is no position', async () => {
    const vm = makeVm(undo, { routed: true });
    const pid = occupy(undo, vm.sandbox);
    const socket = openSocket(undo, vm.sandbox, { port: PORT });
    injectorInto(undo, vm).inject(Buffer.from('early'));
    await arrived(socket);
    const tap = openTap(pid, [socket]);
    tap.mark([socket]);
    assert.throws(() => tap.read(10), { code: 'replication.overrun', message: /before the migration began/ });
  });

  test('a checksum that the sender left to the device is filled in', async () => {
    const { vm, tap, sockets } = watched();
    inNetns(vm.netns, () => execFileSync('ethtool', ['-K', LINK_NAME, 'tx', 'on']));
    const sender = openSocket(undo, vm.netns, { port: 5, remote: { address: SANDBOX_ADDRESS, port: PORT } });
    tap.mark(sockets);
    sendNow(sender.descriptor, Buffer.from('a sum that is not there'));
    // payloadOf checks it.
    assert.deepEqual(inputsOf(await logOf(tap, 1)).map(payloadOf), ['a sum that is not there']);
  });

  test('why: such a packet has a wrong checksum on the link', async () => {
    const vm = makeVm(undo, { routed: true });
    inNetns(vm.netns, () => execFileSync('ethtool', ['-K', LINK_NAME, 'tx', 'on']));
    using packets = inNetns(vm.sandbox, () => new PacketTap(linkOf(vm), { mtu: 1500, bufferBytes: 1 << 20 }));
    const sender = openSocket(undo, vm.netns, { port: 5, remote: { address: SANDBOX_ADDRESS, port: PORT } });
    sendNow(sender.descriptor, Buffer.from('a sum that is not there'));
    let missing = 0;
    await until('it has come', () => {
      packets.read((frame) => {
        if (frame === null || frame.outgoing || !frame.checksumMissing) return;
        missing++;
        assert.equal(decodeDatagram([decodePacket(frame.packet)!]), undefined);
      });
      return missing === 1;
    });
  });

  test('nothing stays open', async () => {
    const { sockets, pid } = watched();
    const count = async (): Promise<number> => (await promises.readdir('/proc/self/fd')).length;
    const before = await count();
    for (let round = 0; round < 3; round++) {
      const tap = TrafficTap.open({ pid, linkName: 'eth0', address: SANDBOX_ADDRESS, sockets });
      const cut = new EgressCut({ pid }, 'eth0');
      tap.mark(sockets);
      cut.close();
      tap.close();
      tap.close();
    }
    assert.equal(await count(), before);
  });
});

const linkOf = (vm: Vm): number =>
  inNetns(vm.sandbox, () => {
    using routes = new RouteSocket();
    return getLink(routes, 'eth0').index;
  });
