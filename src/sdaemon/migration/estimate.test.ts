import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MODES } from '../../migration/modes.ts';
import { estimate, plannedSnapshot } from './estimate.ts';

const FORK = { way: 'fork', why: 'it has 12 MiB' } as const;
const SMALL = { memoryBytes: 12 << 20, smallPageBytes: 12 << 20, threads: 4, descriptors: 19, snapshot: FORK };
const LARGE = { ...SMALL, memoryBytes: 1 << 30, smallPageBytes: 1 << 30 };
const TRACKED = { ...LARGE, snapshot: { way: 'tracked', why: 'it has 1.0 GiB' } } as const;

test('every mode has a range, which is wider where the machine has more to do', () => {
  for (const mode of MODES) {
    const [idle, busy] = [estimate(mode, SMALL, 0.2), estimate(mode, SMALL, 3)];
    for (const figure of ['stop', 'total'] as const) {
      assert.ok(idle[figure].least < idle[figure].most, `${mode} ${figure}`);
      assert.equal(busy[figure].least, idle[figure].least);
      assert.equal(busy[figure].most, 3 * idle[figure].most);
    }
    assert.ok(idle.stop.least <= idle.total.least);
    assert.equal(idle.freeze === undefined, mode !== 'replicated');
  }
});

test('what grows with memory: the stop of stopcopy, the freeze a little, the stop of postcopy not at all', () => {
  const ratio = (mode: (typeof MODES)[number]): number =>
    estimate(mode, LARGE, 0).stop.least / estimate(mode, SMALL, 0).stop.least;
  assert.ok(ratio('stopcopy') > 30);
  assert.equal(ratio('postcopy'), 1);
  assert.ok(ratio('replicated') > 2 && ratio('replicated') < 20);
  for (const figure of ['threads', 'descriptors'] as const) {
    const more = { ...SMALL, [figure]: 200 };
    assert.ok(estimate('replicated', more, 0).freeze!.least > estimate('replicated', SMALL, 0).freeze!.least);
  }
});

test('the freeze of much memory is that of a small process when it is tracked, or in huge pages', () => {
  const freeze = (size: typeof LARGE | typeof TRACKED): number => estimate('replicated', size, 0).freeze!.least;
  assert.ok(freeze(LARGE) > 20_000);
  assert.ok(freeze(TRACKED) < 5_000);
  assert.equal(freeze({ ...LARGE, smallPageBytes: 12 << 20 }), freeze(SMALL));
});

test('the way is named with its reason', () => {
  assert.deepEqual(plannedSnapshot(SMALL), { way: 'fork', whyWay: 'it has 12 MiB; about 315 µs of the freeze' });
  assert.match(plannedSnapshot(TRACKED).whyWay ?? '', /^it has 1.0 GiB; about 1.6 ms/);
  assert.deepEqual(plannedSnapshot({ ...SMALL, snapshot: undefined }), {});
});
