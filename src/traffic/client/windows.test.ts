import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { shortNumbers } from './numbering.ts';
import { renderWindows } from './render-windows.ts';
import { RunRecord } from './run-record.ts';
import { mergeSpans, overlaps } from './spans.ts';
import { parseWindows, windowsReport } from './windows.ts';

/** Requests a millisecond apart, answered after `latency(i)` microseconds; undefined: never. */
function recordOf(count: number, latency: (index: number) => number | undefined): RunRecord {
  const record = new RunRecord(count, 1000, shortNumbers);
  for (let index = 0; index < count; index++) record.send(index * 1000);
  for (let index = 0; index < count; index++) {
    const us = latency(index);
    if (us !== undefined) record.receive(String((index + 1) ** 2), index * 1000 + us);
  }
  record.finish();
  return record;
}

test('requests in flight in a window are told apart from the control, and each is in exactly one of them', () => {
  const record = recordOf(20, (index) => (index >= 8 && index < 12 ? 900 : 100));
  const { control, byLabel } = windowsReport(record, [{ label: 'moving', fromUs: 8500, toUs: 11_500 }], undefined);
  const moving = byLabel['moving']!;
  assert.deepEqual([moving.windows, moving.sent, moving.lost, moving.latencyUs.p50], [1, 4, 0, 900]);
  assert.deepEqual([control.sent, control.latencyUs.max, control.undisturbed], [16, 100, null]);
  assert.equal(moving.seconds + control.seconds, 0.02);
});

test('a lost request belongs to the window in which it was due', () => {
  const record = recordOf(10, (index) => (index === 4 ? undefined : 100));
  const { control, byLabel } = windowsReport(record, [{ label: 'a', fromUs: 3900, toUs: 4200 }], undefined);
  assert.deepEqual([byLabel['a']!.sent, byLabel['a']!.lost, byLabel['a']!.latencyUs.max], [1, 1, null]);
  assert.equal(control.lost, 0);
});

test('what was in flight in a stall of the platform is left out of the second figure, not of the first', () => {
  const record = recordOf(10, (index) => (index === 5 ? 700 : 100));
  const windows = [{ label: 'a', fromUs: 4000, toUs: 7000 }];
  const { byLabel, control } = windowsReport(record, windows, [{ fromUs: 5200, toUs: 5600 }]);
  const { latencyUs, undisturbed } = byLabel['a']!;
  assert.equal(latencyUs.max, 700);
  assert.deepEqual([undisturbed?.leftOut, undisturbed?.latencyUs.max], [1, 100]);
  assert.equal(control.undisturbed?.leftOut, 0);
});

test('windows of one label are put together, those of another stand apart', () => {
  const record = recordOf(30, () => 100);
  const window = (label: string, fromUs: number) => ({ label, fromUs, toUs: fromUs + 2000 });
  const report = windowsReport(record, [window('a', 0), window('b', 10_000), window('a', 20_000)], undefined);
  assert.deepEqual(
    Object.entries(report.byLabel).map(([label, { windows, sent }]) => [label, windows, sent]),
    [
      ['a', 2, 4],
      ['b', 1, 2],
    ],
  );
  assert.match(renderWindows(report), /in 2 windows 'a', 0\.0 s +4 +0 +100 µs/);
});

test('the file of windows: times become times of the run, and a line that is none is named', () => {
  const line = '{"label":"a","fromUnixUs":1500,"toUnixUs":2500,"more":1}';
  assert.deepEqual(parseWindows(`${line}\n\n`, 'w', 1000), [{ label: 'a', fromUs: 500, toUs: 1500 }]);
  for (const bad of ['x', '[]', 'null', '{"label":"a","fromUnixUs":2,"toUnixUs":1}', '{"fromUnixUs":1,"toUnixUs":2}']) {
    assert.throws(() => parseWindows(`${line}\n${bad}\n`, 'w', 0), /w:2 is not a window/, bad);
  }
});

test('merged spans are in order, apart from each other, and hold what the others held', () => {
  const span = fc.tuple(fc.nat(100), fc.nat(20)).map(([from, length]) => ({ fromUs: from, toUs: from + length }));
  fc.assert(
    fc.property(fc.array(span), fc.nat(120), (spans, at) => {
      const merged = mergeSpans(spans);
      for (let i = 1; i < merged.length; i++) assert.ok(merged[i - 1]!.toUs < merged[i]!.fromUs);
      const within = spans.some(({ fromUs, toUs }) => fromUs < at + 1 && toUs > at);
      assert.equal(overlaps(merged, at, at + 1), within);
    }),
  );
});
