import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionError } from '../base/assert.ts';
import { encodePackets } from '../base/packets/encode.ts';
import type { InputEntry, LogEntry, OutputEntry } from '../base/traffic-log.ts';
import { digestOf } from './digest.ts';
import type { MarkedSocket, SocketHead } from './receivers.ts';
import { type SequencedFrame, Sequencer } from './sequencer.ts';

const OWN = Buffer.from([10, 88, 0, 5]);
const REMOTES = [Buffer.from([192, 0, 2, 7]), Buffer.from([192, 0, 2, 8])];
const address = (bytes: Buffer): number => bytes.readUInt32BE(0);

type Arrival = {
  readonly outgoing: boolean;
  readonly remote: number;
  readonly remotePort: number;
  readonly localPort: number;
  readonly stamp: number;
  readonly payload: Buffer;
};

function frameOf({ outgoing, remote, remotePort, localPort, stamp, payload }: Arrival): SequencedFrame {
  const there = { address: REMOTES[remote]!, port: remotePort };
  const here = { address: OWN, port: localPort };
  const [from, to] = outgoing ? [here, there] : [there, here];
  const packet = encodePackets(
    {
      sourceAddress: from.address,
      sourcePort: from.port,
      destinationAddress: to.address,
      destinationPort: to.port,
      payload,
    },
    1500,
    1,
  )[0]!;
  return { outgoing, stamp, packet, checksumMissing: false };
}

const headOf = ({ stamp, remote, remotePort, payload }: Arrival): SocketHead => ({
  stamp,
  sourceAddress: address(REMOTES[remote]!),
  sourcePort: remotePort,
  payload,
});

const inputs = (entries: readonly LogEntry[]): InputEntry[] => entries.filter((entry) => entry.kind === 'input');
const outputs = (entries: readonly LogEntry[]): OutputEntry[] => entries.filter((entry) => entry.kind === 'output');

const PORTS = [7000, 7001, 7002];
/** Few payloads and stamps, so that many are alike; but no two are the same in everything. */
const arrivals = fc
  .array(
    fc.record({
      outgoing: fc.boolean(),
      remote: fc.constantFrom(0, 1),
      remotePort: fc.constantFrom(9, 10),
      localPort: fc.constantFrom(...PORTS, 9999),
      stamp: fc.nat(5),
      payload: fc.constantFrom('', 'a', 'a longer payload, that has to be digested').map((text) => Buffer.from(text)),
    }),
    { maxLength: 60 },
  )
  .map((list) => {
    const seen = new Set<string>();
    return list.filter((one) => {
      const key = JSON.stringify([one.remote, one.remotePort, one.localPort, one.stamp, one.payload.toString()]);
      return one.outgoing || (!seen.has(key) && seen.add(key));
    });
  });

/** 7000 is bound to any address, 7001 to the sandbox's, 7002 is connected to one remote end. */
const socketsWith = (heads: ReadonlyMap<number, SocketHead>): MarkedSocket[] =>
  PORTS.map((localPort) => ({
    localPort,
    localAddress: localPort === 7000 ? undefined : address(OWN),
    remote: localPort === 7002 ? { address: address(REMOTES[0]!), port: 9 } : undefined,
    head: heads.get(localPort),
  }));

const isForSocket = (one: Arrival): boolean =>
  PORTS.includes(one.localPort) && (one.localPort !== 7002 || (one.remote === 0 && one.remotePort === 9));

test('the input of a copy is what its sockets had not read, and everything since, in order; so are the outputs', () => {
  const cases = arrivals.chain((list) =>
    fc.record({
      list: fc.constant(list),
      at: fc.nat(list.length),
      /** How many of those that waited each socket has read. */
      read: fc.tuple(fc.nat(10), fc.nat(10), fc.nat(10)),
      /** Frames that came while the sockets were looked at, and how many of them before each one's turn. */
      during: fc.nat(6),
      turn: fc.tuple(fc.nat(6), fc.nat(6), fc.nat(6)),
      batch: fc.integer({ min: 1, max: 7 }),
      /** Frames that are read from the tap before the mark is made. */
      early: fc.nat(list.length),
    }),
  );
  fc.assert(
    fc.property(cases, ({ list, at, read, during, turn, batch, early }) => {
      const before = list.slice(0, at);
      const lookedUntil = Math.min(list.length, at + during);
      const heads = new Map<number, SocketHead>();
      const unread: Arrival[] = [];
      for (const [place, port] of PORTS.entries()) {
        const queue = before.filter((one) => !one.outgoing && one.localPort === port && isForSocket(one));
        const rest = queue.slice(read[place]!);
        unread.push(...rest);
        const meanwhile = list.slice(at, Math.min(lookedUntil, at + turn[place]!));
        const head = rest[0] ?? meanwhile.find((one) => !one.outgoing && one.localPort === port && isForSocket(one));
        if (head !== undefined) heads.set(port, headOf(head));
      }
      const sequencer = new Sequencer(address(OWN));
      const readEarly = Math.min(early, at);
      for (const one of list.slice(0, readEarly)) sequencer.add(frameOf(one));
      sequencer.mark({ frames: at, lookedUntil, sockets: socketsWith(heads) });
      const log: LogEntry[] = [];
      for (const one of list.slice(readEarly)) {
        sequencer.add(frameOf(one));
        log.push(...sequencer.take(batch));
      }
      while (sequencer.waiting > 0) log.push(...sequencer.take(batch));
      log.push(...sequencer.take(1000));

      const expected = list.filter((one, place) => !one.outgoing && (place >= at || unread.includes(one)));
      assert.deepEqual(
        inputs(log).map(({ frames }) => Buffer.from(frames[0]!)),
        expected.map((one) => frameOf(one).packet),
      );
      assert.deepEqual(
        inputs(log).map(({ index }) => index),
        expected.map((_, index) => index),
      );
      const sent = list.slice(at).filter(({ outgoing }) => outgoing);
      assert.deepEqual(
        outputs(log).map(({ length, digest }) => [length, digest]),
        sent.map(({ payload }) => [payload.length, digestOf(payload)]),
      );
      const nextOf = new Map<string, number>();
      for (const { flow, index } of outputs(log)) {
        const key = JSON.stringify(flow);
        assert.equal(index, nextOf.get(key) ?? 0);
        nextOf.set(key, index + 1);
      }
    }),
    { numRuns: 300 },
  );
});

const ARRIVAL: Arrival = {
  outgoing: false,
  remote: 0,
  remotePort: 9,
  localPort: 7000,
  stamp: 1000,
  payload: Buffer.from('same'),
};

test('the head is found among thousands of equal payloads, by its stamp, also where stamps step back', () => {
  const stamps = Array.from({ length: 5000 }, (_, n) => 1_000_000 + (n % 2 === 0 ? n : n - 300));
  for (const head of [0, 1, 777, 4999]) {
    const sequencer = new Sequencer(address(OWN));
    for (const stamp of stamps) sequencer.add(frameOf({ ...ARRIVAL, stamp }));
    const found = headOf({ ...ARRIVAL, stamp: stamps[head]! });
    sequencer.mark({
      frames: stamps.length,
      lookedUntil: stamps.length,
      sockets: socketsWith(new Map([[7000, found]])),
    });
    assert.equal(sequencer.take(10_000).length, stamps.length - head);
  }
});

test('of equal stamps the digest decides, and the sender', () => {
  const frames = ['x', 'y', 'x', 'z'].map((text, n) => ({
    ...ARRIVAL,
    payload: Buffer.from(text),
    remotePort: n === 2 ? 10 : 9,
  }));
  for (const [head, one] of frames.entries()) {
    const sequencer = new Sequencer(address(OWN));
    for (const frame of frames) sequencer.add(frameOf(frame));
    sequencer.mark({ frames: 4, lookedUntil: 4, sockets: socketsWith(new Map([[7000, headOf(one)]])) });
    assert.equal(sequencer.take(10).length, 4 - head);
  }
});

test('a head that was not seen, or was seen twice, is no position', () => {
  for (const frames of [[], [ARRIVAL, ARRIVAL], [{ ...ARRIVAL, stamp: 999 }], [{ ...ARRIVAL, localPort: 7001 }]]) {
    const sequencer = new Sequencer(address(OWN));
    for (const frame of frames) sequencer.add(frameOf(frame));
    sequencer.mark({
      frames: frames.length,
      lookedUntil: frames.length,
      sockets: socketsWith(new Map([[7000, headOf(ARRIVAL)]])),
    });
    assert.throws(() => sequencer.take(10), { code: 'replication.overrun' });
  }
});

test('where the head was not seen it is said what was compared', () => {
  const sequencer = new Sequencer(address(OWN));
  for (const stamp of [5, 999, 1_002]) sequencer.add(frameOf({ ...ARRIVAL, stamp }));
  sequencer.mark({ frames: 3, lookedUntil: 3, sockets: socketsWith(new Map([[7000, headOf(ARRIVAL)]])) });
  assert.throws(() => sequencer.take(10), {
    message:
      'what waits at port 7000 came before the migration began to watch, or was not seen: ' +
      '4 bytes from 192.0.2.7:9, received at 0.000001000 s; ' +
      '3 frames were watched, 3 of them kept from 0.000000005 s to 0.000001002 s; ' +
      'of the same sender and contents: 3, received at 0.000000999 s, 0.000001002 s, 0.000000005 s',
  });
});

test('a datagram in fragments has one index, the position of its last one, and all of its packets', () => {
  const datagram = {
    sourceAddress: REMOTES[0]!,
    sourcePort: 9,
    destinationAddress: OWN,
    destinationPort: 7000,
    payload: Buffer.alloc(4000, 'f'),
  };
  const [a, b, c] = encodePackets(datagram, 1500, 77) as [Buffer, Buffer, Buffer];
  const fragment = (packet: Buffer, stamp: number): SequencedFrame => ({
    outgoing: false,
    stamp,
    packet,
    checksumMissing: false,
  });
  // Its head's stamp is that of the fragment that came last, whichever that is.
  const sequencer = new Sequencer(address(OWN));
  for (const frame of [fragment(a, 1), fragment(c, 2), frameOf({ ...ARRIVAL, stamp: 3 }), fragment(b, 4)])
    sequencer.add(frame);
  const head = headOf({ ...ARRIVAL, stamp: 4, payload: datagram.payload });
  sequencer.mark({ frames: 4, lookedUntil: 4, sockets: socketsWith(new Map([[7000, head]])) });
  const log = inputs(sequencer.take(10));
  assert.equal(log.length, 1);
  assert.deepEqual(log[0]!.frames, [a, c, b]);

  // One that is complete only after the mark is input as a whole.
  const across = new Sequencer(address(OWN));
  across.add(fragment(a, 1));
  across.add(fragment(b, 2));
  across.mark({ frames: 2, lookedUntil: 2, sockets: socketsWith(new Map()) });
  across.add(fragment(c, 3));
  assert.deepEqual(inputs(across.take(10))[0]?.frames, [a, b, c]);
});

test('frames of no use count for the position', () => {
  const sequencer = new Sequencer(address(OWN));
  sequencer.mark({ frames: 3, lookedUntil: 3, sockets: socketsWith(new Map()) });
  sequencer.add(null);
  sequencer.add(frameOf({ ...ARRIVAL, outgoing: true }));
  sequencer.add(frameOf(ARRIVAL));
  assert.deepEqual(sequencer.take(10), [], 'all of them were there at the mark');
  sequencer.add(frameOf({ ...ARRIVAL, outgoing: true }));
  sequencer.add(frameOf(ARRIVAL));
  assert.deepEqual(
    sequencer.take(10).map(({ kind }) => kind),
    ['output', 'input'],
  );
});

test('what is kept from before a mark is bounded', () => {
  const sequencer = new Sequencer(address(OWN));
  for (let n = 0; n < 200_000; n++) sequencer.add(frameOf({ ...ARRIVAL, stamp: n }));
  const of = (stamp: number): SocketHead => headOf({ ...ARRIVAL, stamp });
  sequencer.mark({ frames: 200_000, lookedUntil: 200_000, sockets: socketsWith(new Map([[7000, of(190_000)]])) });
  assert.equal(sequencer.take(100_000).length, 10_000);

  const late = new Sequencer(address(OWN));
  for (let n = 0; n < 200_000; n++) late.add(frameOf({ ...ARRIVAL, stamp: n }));
  late.mark({ frames: 200_000, lookedUntil: 200_000, sockets: socketsWith(new Map([[7000, of(1_000)]])) });
  assert.throws(() => late.take(1), { code: 'replication.overrun' }, 'what is too old is not kept');
});

test('of equal stamps, ports and contents the sender’s address decides', () => {
  const frames = [ARRIVAL, { ...ARRIVAL, remote: 1 }];
  for (const [head, one] of frames.entries()) {
    const sequencer = new Sequencer(address(OWN));
    for (const frame of frames) sequencer.add(frameOf(frame));
    sequencer.mark({ frames: 2, lookedUntil: 2, sockets: socketsWith(new Map([[7000, headOf(one)]])) });
    assert.equal(sequencer.take(10).length, 2 - head);
  }
});

test('a datagram that was tapped before a head that came late, and stands behind it in the queue, is input', () => {
  const [overtaken, head] = [
    { ...ARRIVAL, stamp: 1 },
    { ...ARRIVAL, stamp: 2 },
  ];
  const sequencer = new Sequencer(address(OWN));
  sequencer.mark({ frames: 0, lookedUntil: 2, sockets: socketsWith(new Map([[7000, headOf(head)]])) });
  for (const frame of [overtaken, head]) sequencer.add(frameOf(frame));
  assert.deepEqual(
    inputs(sequencer.take(10)).map(({ frames }) => frames[0]),
    [frameOf(overtaken).packet, frameOf(head).packet],
  );
});

test('what goes to another address is no input', () => {
  const sequencer = new Sequencer(address(OWN));
  sequencer.mark({ frames: 0, lookedUntil: 0, sockets: socketsWith(new Map()) });
  const elsewhere = frameOf(ARRIVAL);
  Buffer.from([10, 88, 0, 6]).copy(elsewhere.packet, 16);
  sequencer.add(elsewhere);
  sequencer.add(frameOf(ARRIVAL));
  assert.equal(inputs(sequencer.take(10)).length, 1);
});

test('a packet is copied, and its checksum completed where its sender had left that to a device', () => {
  const sequencer = new Sequencer(address(OWN));
  sequencer.mark({ frames: 0, lookedUntil: 0, sockets: socketsWith(new Map()) });
  const whole = frameOf(ARRIVAL);
  const packet = Buffer.from(whole.packet);
  // The UDP checksum, behind an IPv4 header of 20 bytes.
  packet.writeUInt16BE(0xbeef, 26);
  sequencer.add({ ...whole, packet, checksumMissing: true });
  packet.fill(0);
  assert.deepEqual(inputs(sequencer.take(10))[0]?.frames, [whole.packet]);
});

const sentFragments = (id: number): SequencedFrame[] =>
  encodePackets(
    {
      sourceAddress: OWN,
      sourcePort: 7000,
      destinationAddress: REMOTES[0]!,
      destinationPort: 9,
      payload: Buffer.alloc(4000, 'f'),
    },
    1500,
    id,
  ).map((packet) => ({ outgoing: true, stamp: id, packet, checksumMissing: false }));

test('an output of which fragments have been seen is unfinished, unless that was before the mark', () => {
  const sequencer = new Sequencer(address(OWN));
  sequencer.add(sentFragments(1)[0]!);
  assert.equal(sequencer.unfinishedOutputs, 0, 'nobody has stood still yet');
  sequencer.mark({ frames: 1, lookedUntil: 1, sockets: socketsWith(new Map()) });
  sequencer.begin();
  assert.equal(sequencer.unfinishedOutputs, 0, 'it has been so since before the tap');
  const [first, ...rest] = sentFragments(2);
  sequencer.add(first!);
  assert.equal(sequencer.unfinishedOutputs, 1);
  for (const frame of rest) sequencer.add(frame);
  assert.equal(sequencer.unfinishedOutputs, 0);
  assert.equal(sequencer.outputs, 1);
});

test('fragments behind the mark that nobody has room for are an overrun, not a hole in the log', () => {
  const sequencer = new Sequencer(address(OWN));
  sequencer.mark({ frames: 0, lookedUntil: 0, sockets: socketsWith(new Map()) });
  const many = (): void => {
    for (let id = 1; id < 5_000; id++) sequencer.add(sentFragments(id)[0]!);
  };
  assert.throws(many, { code: 'replication.overrun' });
});

test('a mark is not made behind what has been read, nor in a log that has begun', () => {
  const sequencer = new Sequencer(address(OWN));
  for (let n = 0; n < 2; n++) sequencer.add(frameOf({ ...ARRIVAL, stamp: n }));
  const mark = (frames: number): void =>
    sequencer.mark({ frames, lookedUntil: frames, sockets: socketsWith(new Map()) });
  assert.throws(() => mark(1), AssertionError);
  mark(3);
  mark(4);
  for (let n = 0; n < 2; n++) sequencer.add(null);
  sequencer.begin();
  assert.throws(() => mark(5), AssertionError);
});
