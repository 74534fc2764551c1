import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseWay } from './choose.ts';

const MB = 1 << 20;

test('a snapshot of much memory is taken by tracking, where the kernel notes writes', () => {
  const cases = [
    [16 * MB, 'userfaultfd', 'fork', /^it has 16\S* MiB in small pages, less than 64\S* MiB$/],
    [63 * MB, 'userfaultfd', 'fork', /less than/],
    [64 * MB, 'userfaultfd', 'tracked', /or more/],
    [4096 * MB, 'userfaultfd', 'tracked', /^it has 4\S* GiB in small pages, 64\S* MiB or more$/],
    [4096 * MB, 'soft-dirty', 'fork', /soft-dirty/],
    [16 * MB, 'soft-dirty', 'fork', /less than/],
    [4096 * MB, 'none', 'fork', /does not tell/],
  ] as const;
  for (const [bytes, writeTracking, way, why] of cases) {
    const chosen = chooseWay(bytes, { writeTracking });
    assert.equal(chosen.way, way, `${bytes} ${writeTracking}`);
    assert.match(chosen.why, why);
  }
});

test('what an operator asks for is done where it can be', () => {
  const cases = [
    [16 * MB, 'userfaultfd', 'tracked', 'tracked'],
    [16 * MB, 'soft-dirty', 'tracked', 'tracked'],
    [16 * MB, 'none', 'tracked', 'fork'],
    [4096 * MB, 'userfaultfd', 'fork', 'fork'],
    [4096 * MB, 'none', 'fork', 'fork'],
  ] as const;
  for (const [bytes, writeTracking, asked, way] of cases)
    assert.equal(chooseWay(bytes, { writeTracking }, asked).way, way, `${bytes} ${writeTracking} ${asked}`);
});
