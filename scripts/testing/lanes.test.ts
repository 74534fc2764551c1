/** What runs beside what, in which order, and what a second try changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Attempt, type Counts, inLanes, runAll } from './lanes.ts';
import type { Needs, RootTest } from './root-tests.ts';

const GOOD: Counts = { passed: 2, failed: 0, skipped: 0 };
const BAD: Counts = { passed: 1, failed: 1, skipped: 0 };

const job = (file: string, needs: Needs, seconds: number): RootTest => ({ file, needs, seconds });
const JOBS = [
  ...[job('m1', 'machine', 2), job('l1', 'lab', 1), job('l2', 'lab', 6), job('a1', 'alone', 1)],
  ...[job('m2', 'machine', 4), job('l3', 'lab', 3), job('a2', 'alone', 3), job('l4', 'lab', 2)],
];

type Seen = {
  readonly test: RootTest;
  readonly lane: number;
  readonly beside: readonly RootTest[];
  readonly at: number;
};

/** Runs them, a turn of the clock a second. @returns each with what else ran at any moment of it */
async function watch(tests: readonly RootTest[], lanes: number): Promise<{ seen: Seen[]; seconds: number }> {
  const clock = { now: 0 };
  const wakers: { at: number; wake: () => void }[] = [];
  const sleep = (seconds: number) => new Promise<void>((wake) => void wakers.push({ at: clock.now + seconds, wake }));
  const seen: (Seen & { readonly beside: RootTest[] })[] = [];
  const running = new Set<(typeof seen)[number]>();
  const state = { over: false };
  const ended = inLanes(tests, lanes, async (of, lane) => {
    const own = { test: of, lane, at: clock.now, beside: [...running].map((other) => other.test) };
    for (const other of running) other.beside.push(of);
    running.add(own);
    seen.push(own);
    await sleep(of.seconds);
    running.delete(own);
  }).finally(() => {
    state.over = true;
  });
  while (!state.over) {
    await new Promise((resolve) => setImmediate(resolve));
    if (state.over) break;
    clock.now++;
    for (const { wake } of wakers.filter(({ at }) => at === clock.now)) wake();
  }
  await ended;
  return { seen, seconds: clock.now };
}

const files = (tests: readonly { readonly test: RootTest }[]): string => tests.map((of) => of.test.file).join(' ');

test('with one lane: everything once, alone, the longest of each kind first', async () => {
  const { seen, seconds } = await watch(JOBS, 1);
  assert.equal(files(seen), 'a2 a1 m2 m1 l2 l3 l4 l1');
  assert.ok(seen.every(({ beside, lane }) => beside.length === 0 && lane === 1));
  assert.equal(seconds, 22);
});

test('with two lanes: what has to be alone is, and what has names of the machine stays in one lane', async () => {
  const { seen, seconds } = await watch(JOBS, 2);
  assert.deepEqual(seen.map((of) => of.test.file).toSorted(), JOBS.map(({ file }) => file).toSorted());
  for (const { test: of, beside, lane } of seen) {
    if (of.needs === 'alone') assert.deepEqual(beside, [], of.file);
    if (of.needs === 'machine') assert.equal(lane, 1, of.file);
    if (of.needs === 'machine')
      assert.ok(
        beside.every((other) => other.needs === 'lab'),
        of.file,
      );
  }
  assert.equal(files(seen), 'a2 a1 m2 l2 m1 l3 l4 l1');
  // Four of them alone, and the eighteen others side by side.
  assert.equal(seconds, 4 + 9);
});

test('whatever there is, nothing is beside what it may not be beside, and nothing is forgotten', async () => {
  const kinds: readonly Needs[] = ['alone', 'lab', 'machine'];
  for (let pick = 0; pick < 3 ** 5; pick++) {
    const tests = [0, 1, 2, 3, 4].map((place) =>
      job(`t${place}`, kinds[Math.floor(pick / 3 ** place) % 3]!, 1 + ((pick + place) % 4)),
    );
    const { seen } = await watch(tests, 2);
    assert.equal(new Set(seen.map((of) => of.test)).size, 5);
    assert.equal(seen.length, 5);
    for (const { test: of, beside } of seen)
      for (const other of beside) {
        assert.ok(of.needs !== 'alone' && other.needs !== 'alone');
        assert.ok(of.needs !== 'machine' || other.needs !== 'machine');
      }
  }
});

test('no tests are no failure of the lanes, and a failure of the runner is one', async () => {
  await inLanes([], 2, () => assert.fail('there is nothing to run'));
  await assert.rejects(
    inLanes(JOBS, 2, () => Promise.reject(new Error('no such program'))),
    /no such program/,
  );
});

/** @param bad how often each file fails. */
async function tries(bad: Readonly<Record<string, number>>, secondTries: number) {
  const attempts: Attempt[] = [];
  const left = new Map(Object.entries(bad));
  const outcome = await runAll(JOBS, { lanes: 2, secondTries }, async (attempt) => {
    attempts.push(attempt);
    await new Promise((resolve) => setImmediate(resolve));
    const more = left.get(attempt.test.file) ?? 0;
    left.set(attempt.test.file, more - 1);
    return more > 0 ? BAD : GOOD;
  });
  return { outcome, again: attempts.filter(({ again }) => again), attempts };
}

test('a file that fails once is run once more, behind all the others, and that counts; it is said', async () => {
  const { outcome, again, attempts } = await tries({ l3: 1 }, 2);
  assert.deepEqual(outcome, { passed: 16, failed: 0, skipped: 0, unsteady: ['l3'] });
  assert.deepEqual([files(again), again[0]?.lane], ['l3', 1]);
  assert.equal(attempts.at(-1), again[0]);
});

test('a file that fails twice has failed', async () => {
  const { outcome } = await tries({ l3: 2 }, 2);
  assert.deepEqual(outcome, { passed: 15, failed: 1, skipped: 0, unsteady: ['l3'] });
});

test('there are so many second tries and no more', async () => {
  const { outcome, again } = await tries({ a1: 1, m1: 1, l3: 1 }, 2);
  assert.equal(again.length, 2);
  assert.deepEqual([outcome.failed, outcome.unsteady.length], [1, 2]);
  const none = await tries({ a1: 1 }, 0);
  assert.deepEqual([none.again, none.outcome.failed, none.outcome.unsteady], [[], 1, []]);
});
