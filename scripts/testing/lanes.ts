/**
 * Files of root tests beside one another: each lane runs one file at a time and has a lab of its own. Most of them wait most
 * of the time, for daemons that start and for servers that are watched.
 *
 *     lane 1   alone ▏alone ▏machine ▏machine ▏machine ▏lab ▏lab ▏
 *     lane 2                ▏lab     ▏lab ▏lab    ▏lab  ▏lab ▏lab▏
 */
import type { RootTest } from './root-tests.ts';

/** Of the tests of a file, or of several. */
export type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

export type Attempt = {
  readonly test: RootTest;
  /** 1, 2 … */
  readonly lane: number;
  /** Whether it has failed before, beside others. */
  readonly again: boolean;
};

/**
 * Calls `run` for every test: what has to be alone first, then the others, the longest of each kind first. What uses names
 * that are fixed for the machine stays in lane 1. Rejects when `run` does.
 */
export async function inLanes(
  tests: readonly RootTest[],
  lanes: number,
  run: (test: RootTest, lane: number) => Promise<void>,
): Promise<void> {
  const [alone, machine, lab] = (['alone', 'machine', 'lab'] as const).map((wanted) =>
    tests.filter(({ needs }) => needs === wanted).toSorted((a, b) => b.seconds - a.seconds),
  ) as [RootTest[], RootTest[], RootTest[]];
  for (const test of alone) await run(test, 1);
  const work = async (lane: number): Promise<void> => {
    for (;;) {
      const next = (lane === 1 ? machine.shift() : undefined) ?? lab.shift();
      if (next === undefined) return;
      await run(next, lane);
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, index) => work(index + 1)));
}

export type Outcome = Counts & {
  /** Files that have failed and were run once more, whatever came of it. */
  readonly unsteady: readonly string[];
};

/**
 * Runs them all, and then the first `secondTries` of those that failed once more, with nothing beside them: what counts is
 * what came of that.
 */
export async function runAll(
  tests: readonly RootTest[],
  { lanes, secondTries }: { readonly lanes: number; readonly secondTries: number },
  run: (attempt: Attempt) => Promise<Counts>,
): Promise<Outcome> {
  const counts = new Map<RootTest, Counts>();
  const failed: RootTest[] = [];
  await inLanes(tests, lanes, async (test, lane) => {
    const of = await run({ test, lane, again: false });
    counts.set(test, of);
    if (of.failed > 0) failed.push(test);
  });
  const again = failed.slice(0, secondTries);
  for (const test of again) counts.set(test, await run({ test, lane: 1, again: true }));
  return { ...sum([...counts.values()]), unsteady: again.map(({ file }) => file) };
}

export function sum(all: readonly Counts[]): Counts {
  const of = (kind: keyof Counts): number => all.reduce((before, counts) => before + counts[kind], 0);
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}
