import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpusOf, getAffinity, setAffinity, singleCpu } from '../linux/scheduling.ts';
import { parseCpuTimes, stolenPercent } from './cpu-times.ts';
import { mergeStalls, startHiccupMeter } from './hiccup.ts';

test('stolen time is a share of all time, and guest time is not counted twice', () => {
  const before = parseCpuTimes('cpu  100 0 50 800 50 0 0 0 40 0\ncpu0 1 2 3\n');
  const after = parseCpuTimes('cpu  160 0 70 870 70 10 10 20 80 0\ncpu0 1 2 3\n');
  assert.deepEqual(before, { total: 1000, idle: 850, stolen: 0 });
  assert.equal(stolenPercent(before, after), 9.52);
  assert.equal(stolenPercent(before, before), 0);
});

test('stalls of several CPUs become spans that do not overlap', () => {
  const stall = (cpu: number, fromUnixUs: number, toUnixUs: number) => ({ cpu, fromUnixUs, toUnixUs });
  assert.deepEqual(mergeStalls([]), []);
  assert.deepEqual(mergeStalls([stall(1, 50, 60), stall(0, 10, 20), stall(1, 15, 18), stall(0, 20, 30)]), [
    { fromUnixUs: 10, toUnixUs: 30 },
    { fromUnixUs: 50, toUnixUs: 60 },
  ]);
});

test('a meter watches every CPU for as long as it is told, and what it found lies in that time', async () => {
  const startUnixUs = Date.now() * 1000;
  // So low that every wake-up is late enough.
  const meter = await startHiccupMeter(0);
  await sleep(100);
  const report = await meter.stop();
  const endUnixUs = Date.now() * 1000;
  assert.ok(report.durationMs >= 99);
  assert.ok(report.cpus >= 1 && report.stallCount >= report.stalls.length && report.stalls.length > 0);
  assert.deepEqual(new Set(report.stalls.map(({ cpu }) => cpu)), new Set(cpusOf(getAffinity(0))));
  for (const { fromUnixUs, toUnixUs } of report.stalls) {
    assert.ok(fromUnixUs <= toUnixUs && fromUnixUs > startUnixUs - 2000 && toUnixUs < endUnixUs + 2000);
  }
});

test('a program that may use one CPU watches that one', async () => {
  const affinity = getAffinity(0);
  const last = cpusOf(affinity).at(-1)!;
  setAffinity(0, singleCpu(last));
  try {
    const meter = await startHiccupMeter(0);
    await sleep(50);
    const { cpus, stalls } = await meter.stop();
    assert.equal(cpus, 1);
    assert.deepEqual(new Set(stalls.map(({ cpu }) => cpu)), new Set([last]));
  } finally {
    setAffinity(0, affinity);
  }
});
