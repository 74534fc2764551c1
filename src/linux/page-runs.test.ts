import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PageRuns } from './page-runs.ts';

const SPACE = 64;

/** Sets of numbers below SPACE, as runs and as sets. */
const pages = fc.array(fc.boolean(), { minLength: SPACE, maxLength: SPACE });

function runsOf(has: readonly boolean[]): PageRuns {
  const runs = new PageRuns();
  for (const [page, set] of has.entries()) if (set) runs.append(page * 4096, (page + 1) * 4096);
  return runs;
}

function setOf(runs: PageRuns): boolean[] {
  const has = Array<boolean>(SPACE).fill(false);
  for (const { start, length } of runs.toRanges())
    has.fill(true, Number(start) / 4096, (Number(start) + length) / 4096);
  return has;
}

/** That runs neither overlap nor touch. */
function assertCanonical(runs: PageRuns): void {
  for (let index = 0; index < runs.count; index++) {
    assert.ok(runs.start(index) < runs.end(index));
    if (index > 0) assert.ok(runs.end(index - 1) < runs.start(index));
  }
}

test('runs are sets', () => {
  fc.assert(
    fc.property(pages, pages, (a, b) => {
      const [first, second] = [runsOf(a), runsOf(b)];
      assert.deepEqual(setOf(first), a);
      const union = first.union(second);
      const difference = first.minus(second);
      assertCanonical(union);
      assertCanonical(difference);
      assert.deepEqual(
        setOf(union),
        a.map((set, page) => set || b[page]!),
      );
      assert.deepEqual(
        setOf(difference),
        a.map((set, page) => set && !b[page]!),
      );
      assert.equal(union.bytes, a.filter((set, page) => set || b[page]!).length * 4096);
    }),
  );
});

test('runs go up to the highest address of a process', () => {
  const runs = PageRuns.of([0x7fff_ffff_e000, 0x7fff_ffff_f000]);
  assert.deepEqual(runs.toRanges(), [{ start: 0x7fff_ffff_e000n, length: 4096 }]);
});

test('what is out of order is not taken', () => {
  assert.throws(() => PageRuns.of([8192, 12288], [0, 4096]));
});

test('many runs, and used again', () => {
  const runs = new PageRuns();
  for (let index = 0; index < 5000; index++) runs.append(index * 8192, index * 8192 + 4096);
  assert.equal(runs.count, 5000);
  runs.clear();
  assert.equal(runs.bytes, 0);
  runs.append(0, 4096);
  assert.equal(runs.bytes, 4096);
});
