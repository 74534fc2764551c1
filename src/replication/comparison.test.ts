import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Flow, OutputEntry } from '../base/traffic-log.ts';
import { OutputComparison, type Reproduced } from './comparison.ts';
import { digestOf } from './digest.ts';

const flowOf = (localPort: number, remotePort: number): Flow => ({
  localAddress: Buffer.from([10, 88, 0, 5]),
  localPort,
  remoteAddress: Buffer.from([192, 0, 2, 7]),
  remotePort,
});
const FLOWS = [flowOf(7000, 1), flowOf(7000, 2), flowOf(7001, 1)];

const payloadOf = (text: string): Buffer => Buffer.from(text);
const logged = (flow: Flow, index: number, text: string): OutputEntry => ({
  kind: 'output',
  flow,
  index,
  length: text.length,
  digest: digestOf(payloadOf(text)),
});
const said = (flow: Flow, text: string): Reproduced => ({
  flow,
  payload: payloadOf(text),
  packets: [payloadOf(`packet of ${text}`)],
});
const textOf = (packets: readonly Uint8Array[]): string => Buffer.from(packets[0]!).toString();

/** Outputs of the source, by flow; what of it is in the log yet; and a merged order of log and reproduction. */
const runs = fc
  .record({
    counts: fc.tuple(fc.nat(20), fc.nat(20), fc.nat(20)),
    ahead: fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)),
    behind: fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)),
  })
  .chain((facts) => {
    const steps = FLOWS.flatMap((_, flow) => [
      ...Array<string>(facts.counts[flow]!).fill(`log ${flow}`),
      ...Array<string>(Math.max(0, facts.counts[flow]! - facts.behind[flow]!) + facts.ahead[flow]!).fill(`say ${flow}`),
    ]);
    return fc.tuple(fc.constant(facts), fc.shuffledSubarray(steps, { minLength: steps.length }));
  });

test('whoever is ahead: what both have said is compared, what only one has is counted, and held in order', () => {
  fc.assert(
    fc.property(runs, ([, steps]) => {
      const comparison = new OutputComparison();
      const logs = [0, 0, 0];
      const says = [0, 0, 0];
      const order: string[] = [];
      for (const step of steps) {
        const [what, number] = step.split(' ') as [string, string];
        const flow = Number(number);
        if (what === 'log') {
          const index = logs[flow]!++;
          comparison.expect(logged(FLOWS[flow]!, index, `${flow}/${index}`));
        } else {
          const index = says[flow]!++;
          order.push(`${flow}/${index}`);
          comparison.reproduce(said(FLOWS[flow]!, `${flow}/${index}`));
        }
        const both = FLOWS.map((_, one) => Math.min(logs[one]!, says[one]!));
        const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
        assert.equal(comparison.compared, sum(both));
        assert.equal(comparison.expected, sum(FLOWS.map((_, one) => logs[one]! - both[one]!)));
        assert.equal(comparison.held, sum(FLOWS.map((_, one) => says[one]! - both[one]!)));
      }
      assert.equal(comparison.difference, undefined);
      const beyond = order.filter((text) => Number(text.split('/')[1]) >= logs[Number(text[0])]!);
      assert.deepEqual(
        comparison.takeHeld().map(textOf),
        beyond.map((text) => `packet of ${text}`),
      );
      assert.equal(comparison.held, 0);
      assert.deepEqual(comparison.takeHeld(), []);
    }),
  );
});

test('the first output that differs is told, with what differs, whoever said it first', () => {
  for (const copyFirst of [true, false])
    for (const [source, copy] of [
      ['two', 'TWO'],
      ['two', 'two and more'],
      // Short ones have the same digest: their length tells them apart.
      ['two', 'two\0'],
      [
        'a payload of which the digest is none of its own bytes',
        'a payload of which the digest is one of its own bytes',
      ],
    ] as const) {
      const comparison = new OutputComparison();
      const flow = FLOWS[1]!;
      const both = (index: number, original: string, reproduced: string): void => {
        if (!copyFirst) comparison.expect(logged(flow, index, original));
        comparison.reproduce(said(flow, reproduced));
        if (copyFirst) comparison.expect(logged(flow, index, original));
      };
      both(0, 'one', 'one');
      assert.equal(comparison.difference, undefined);
      both(1, source, copy);
      both(2, 'three', 'another');
      assert.deepEqual(comparison.difference, {
        flow,
        index: 1,
        source: { length: source.length, digest: digestOf(payloadOf(source)) },
        destination: {
          length: copy.length,
          digest: digestOf(payloadOf(copy)),
          firstBytes: payloadOf(copy).subarray(0, 64),
        },
      });
      assert.equal(comparison.compared, 1);
    }
});

test('a copy that got one input less, or one more, is noticed with the next answer', () => {
  const comparison = new OutputComparison();
  for (let count = 0; count < 10; count++) comparison.expect(logged(FLOWS[0]!, count, `answer ${count}`));
  comparison.reproduce(said(FLOWS[0]!, 'answer 1'));
  assert.equal(comparison.difference?.index, 0);
});

test('answers of two flows may change places', () => {
  const comparison = new OutputComparison();
  comparison.expect(logged(FLOWS[0]!, 0, 'heartbeat'));
  comparison.expect(logged(FLOWS[1]!, 0, 'answer'));
  comparison.reproduce(said(FLOWS[1]!, 'answer'));
  comparison.reproduce(said(FLOWS[0]!, 'heartbeat'));
  assert.equal(comparison.difference, undefined);
  assert.equal(comparison.compared, 2);
});

test('flows of an uncompared port are neither expected nor held, whatever they say', () => {
  const comparison = new OutputComparison([7001]);
  comparison.expect(logged(FLOWS[2]!, 0, 'tick'));
  comparison.reproduce(said(FLOWS[2]!, 'tock'));
  comparison.reproduce(said(FLOWS[2]!, 'tock'));
  const { expected, held, compared, silenced, passedOver, difference } = comparison;
  assert.deepEqual(
    { expected, held, compared, silenced, passedOver, difference },
    { expected: 0, held: 0, compared: 0, silenced: 2, passedOver: 1, difference: undefined },
  );
  assert.deepEqual(comparison.takeHeld(), []);
});

test('a port is uncompared at either end of a flow', () => {
  const comparison = new OutputComparison([2]);
  comparison.expect(logged(FLOWS[1]!, 0, 'tick'));
  comparison.expect(logged(FLOWS[0]!, 0, 'answer'));
  assert.equal(comparison.passedOver, 1);
  assert.equal(comparison.expected, 1);
});

test('what has been let out is compared with nothing any more', () => {
  const comparison = new OutputComparison();
  comparison.reproduce(said(FLOWS[0]!, 'let out'));
  assert.equal(comparison.takeHeld().length, 1);
  comparison.expect(logged(FLOWS[0]!, 0, 'another'));
  const { expected, held, difference } = comparison;
  assert.deepEqual({ expected, held, difference }, { expected: 1, held: 0, difference: undefined });
});

test('an entry that is not the next one of its flow is not taken', () => {
  const comparison = new OutputComparison();
  comparison.expect(logged(FLOWS[0]!, 0, 'a'));
  assert.throws(() => comparison.expect(logged(FLOWS[0]!, 0, 'a')), { code: 'peer.protocol' });
  assert.throws(() => comparison.expect(logged(FLOWS[0]!, 2, 'a')), { code: 'peer.protocol' });
  comparison.expect(logged(FLOWS[0]!, 1, 'a'));
});

test('neither side may be ahead without end', () => {
  const limits = { expected: 100, heldBytes: 100_000 };
  const log = new OutputComparison([], limits);
  const expectAll = (): void => {
    for (let index = 0; index < 101; index++) log.expect(logged(FLOWS[0]!, index, 'a'));
  };
  assert.throws(expectAll, { code: 'replication.lagging' });
  const copy = new OutputComparison([], limits);
  const sayAll = (): void => {
    for (let index = 0; index < 1000; index++) copy.reproduce(said(FLOWS[0]!, 'a'));
  };
  assert.throws(sayAll, { code: 'replication.lagging' });
  const matched = new OutputComparison([], limits);
  for (let index = 0; index < 10_000; index++) {
    matched.reproduce(said(FLOWS[0]!, 'a'));
    matched.expect(logged(FLOWS[0]!, index, 'a'));
  }
  assert.equal(matched.compared, 10_000, 'what is matched takes no room');
});

test('the digest of a short payload is the payload; of a longer one every byte counts', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (bytes, at, by) => {
        const other = Uint8Array.from(bytes);
        other[at % bytes.length]! ^= by;
        assert.equal(digestOf(bytes).length, 16);
        assert.notDeepEqual(digestOf(bytes), digestOf(other));
        if (bytes.length <= 16) assert.deepEqual(digestOf(bytes).subarray(0, bytes.length), bytes);
      },
    ),
  );
});
