import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseWay } from './choose.ts';

test('a snapshot of much memory is taken by tracking, where the kernel notes writes', () => {
  const MB = 1 << 20;
  const cases = [
    [16 * MB, 'userfaultfd', 'fork'],
    [63 * MB, 'userfaultfd', 'fork'],
    [64 * MB, 'userfaultfd', 'tracking'],
    [4096 * MB, 'userfaultfd', 'tracking'],
    [4096 * MB, 'soft-dirty', 'fork'],
    [4096 * MB, 'none', 'fork'],
  ] as const;
  for (const [bytes, writeTracking, way] of cases)
    assert.equal(chooseWay(bytes, { writeTracking }), way, `${bytes} ${writeTracking}`);
});
