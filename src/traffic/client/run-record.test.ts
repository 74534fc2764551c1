import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { longNumbers, MAX_REQUESTS, MIN_DIGITS, shortNumbers } from './numbering.ts';
import { type ClientReport, latencyOf, type RunFacts, reportOf, undisturbed } from './report.ts';
import { RunRecord } from './run-record.ts';

const FACTS: RunFacts = {
  target: '127.0.0.1:5006',
  startUnixUs: 1_000_000,
  refused: 0,
  sendFailures: 0,
  receiveDrops: 0,
  interrupted: false,
  shared: false,
};

const square = (request: string): string => (BigInt(request) ** 2n).toString();

/** A run of `count` requests, one a millisecond, whose answers `network` makes: [datagram, received at µs], in order. */
function run(count: number, network: (requests: string[]) => [string, number][], facts = FACTS): ClientReport {
  const record = new RunRecord(count, 1000, shortNumbers);
  const requests = Array.from({ length: count }, (_, index) => record.send(index * 1000));
  for (const [datagram, atUs] of network(requests)) record.receive(datagram, atUs);
  record.finish();
  return reportOf(record, facts);
}

const counted = (requests: string[]): [string, number][] =>
  requests.map((request, index) => [`${square(request)} ${index + 1}`, index * 1000 + 100]);

const verdict = ({ answered, lost, duplicated, wrong, reordered, exactlyOnce }: ClientReport): unknown[] => [
  ...[answered, lost, duplicated, wrong, reordered, exactlyOnce],
];

test('a number names its request, and the square of none is recognised', () => {
  const index = fc.integer({ min: 0, max: MAX_REQUESTS - 1 });
  for (const numbering of [shortNumbers, longNumbers(MIN_DIGITS), longNumbers(40), longNumbers(1000)]) {
    fc.assert(
      // Two squares never differ by 2.
      fc.property(index, fc.constantFrom(-2, 0, 2), (i, error) => {
        const found = BigInt(square(numbering.request(i))) + BigInt(error);
        assert.equal(numbering.indexOf(found.toString()), error === 0 ? i : undefined);
      }),
    );
    for (const text of ['', '0', '01', '2', '1'.repeat(40)]) assert.equal(numbering.indexOf(text), undefined);
  }
});

test('all answered, once, in order, by a counting server: exactly once', () => {
  const report = run(5, counted);
  assert.deepEqual(verdict(report), [5, 0, 0, 0, 0, true]);
  assert.deepEqual(report.counter, { first: 1, last: 5, missing: 0, repeated: 0 });
  assert.deepEqual(report.latencyUs, { p50: 100, p90: 100, p99: 100, p999: 100, max: 100 });
  assert.equal(report.maxGapMs, 1);
});

test('a server that does not count: exactly once cannot be said', () => {
  const report = run(3, (requests) => requests.map((request, i) => [square(request), i * 1000 + 5]));
  assert.deepEqual(verdict(report), [3, 0, 0, 0, 0, null]);
  assert.equal(report.counter, null);
});

test('lost, duplicated, wrong and reordered answers are each counted, and none is exactly once', () => {
  const cases: [string, (answers: [string, number][]) => [string, number][], unknown[]][] = [
    ['lost', (a) => a.toSpliced(2, 1), [4, 1, 0, 0, 0, false]],
    ['the same answer twice', (a) => [...a, a[2]!], [5, 0, 1, 0, 0, false]],
    ['processed twice', (a) => [...a, ['9 6', 9000]], [5, 0, 1, 0, 0, false]],
    ['a wrong square', (a) => a.with(2, ['10 3', 3000]), [4, 1, 0, 1, 0, false]],
    ['an error', (a) => a.with(2, ['error: not an integer', 3000]), [4, 1, 0, 1, 0, false]],
    ['the square of a number that was not sent', (a) => [...a, ['36 6', 9000]], [5, 0, 0, 1, 0, false]],
    ['one count missing: something else was processed', (a) => a.with(4, ['25 6', 9000]), [5, 0, 0, 0, 0, false]],
    ['a counter that went back', (a) => a.with(4, ['25 4', 9000]), [5, 0, 0, 0, 0, false]],
    ['an answer without its count', (a) => a.with(4, ['25', 9000]), [5, 0, 0, 0, 0, false]],
    ['two swapped', (a) => [a[0]!, a[2]!, a[1]!, a[3]!, a[4]!], [5, 0, 0, 0, 1, true]],
    ['the last comes first', (a) => [a[4]!, ...a.slice(0, 4)], [5, 0, 0, 0, 4, true]],
  ];
  for (const [name, spoil, expected] of cases) {
    assert.deepEqual(verdict(run(5, (requests) => spoil(counted(requests)))), expected, name);
  }
});

test('with other clients a gap in the counter says nothing, but a repeated count does', () => {
  const shared = { ...FACTS, shared: true };
  const every = (step: number) => (requests: string[]) =>
    requests.map((request, i): [string, number] => [`${square(request)} ${7 + i * step}`, i * 1000 + 5]);
  assert.equal(run(5, every(3), shared).exactlyOnce, null);
  assert.equal(run(5, every(1), shared).exactlyOnce, true);
  assert.equal(run(5, every(0), shared).exactlyOnce, false);
});

test('a gap counts wherever it is: before the first answer, between two, and after the last', () => {
  const at = (...times: number[]) =>
    run(10, (requests) => times.map((time, index) => [square(requests[index]!), time])).maxGapMs;
  assert.equal(at(), 9);
  assert.equal(at(6000, 6500, 7000, 7500), 6);
  assert.equal(at(100, 5100, 5200, 9000), 5);
  assert.equal(at(100, 200, 300), 8.7);
});

test('latency is from when the request was due; the time from when it was sent stands beside it', () => {
  const record = new RunRecord(4, 1000, shortNumbers);
  // The client was stalled from before request 1 was due until 3 ms: three requests go out at once.
  for (const sentUs of [0, 3000, 3001, 3002]) record.send(sentUs);
  for (let i = 0; i < 4; i++) record.receive(String((i + 1) ** 2), record.sentUs[i]! + 50);
  record.finish();
  const report = reportOf(record, FACTS);
  assert.equal(report.latencyUs.max, 2050);
  assert.equal(report.latencyFromSendUs.max, 50);
  assert.deepEqual([report.pacing.stalls, report.pacing.largestBurst, report.pacing.lateUs.max], [1, 3, 2000]);
  // Without what was in flight between 1.5 and 2.5 ms: requests 1 and 2.
  const stalls = [
    { fromUs: -20, toUs: -10 },
    { fromUs: 1500, toUs: 2500 },
    { fromUs: 9000, toUs: 9001 },
  ];
  const { leftOut, latencyUs } = undisturbed(record, stalls);
  assert.deepEqual([leftOut, latencyUs.max], [2, 52]);
  assert.equal(undisturbed(record, []).latencyUs.max, 2050);
});

test('unanswered requests are named with the time at which they were sent', () => {
  const report = run(3, (requests) => counted(requests).toSpliced(1, 1));
  assert.deepEqual(report.unanswered, [{ index: 1, sentUnixUs: 1_001_000 }]);
});

test('percentiles are exact, by nearest rank, and nothing has none', () => {
  assert.deepEqual(latencyOf(Float64Array.from({ length: 1000 }, (_, i) => 1000 - i)), {
    ...{ p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 },
  });
  assert.deepEqual(latencyOf(new Float64Array(0)), { p50: null, p90: null, p99: null, p999: null, max: null });
});

test('any datagram is taken, and counted once as one thing', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.string(),
          fc.nat(20).map((n) => `${n * n} ${n}`),
        ),
      ),
      (datagrams) => {
        const report = run(10, () => datagrams.map((datagram, i) => [datagram, i]));
        assert.equal(report.answered + report.duplicated + report.wrong, datagrams.length);
        assert.equal(report.answered + report.lost, 10);
      },
    ),
  );
});
