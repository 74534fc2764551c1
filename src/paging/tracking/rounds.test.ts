import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decide, iterate } from './rounds.ts';
import type { Round } from './write-tracker.ts';

const LIMITS = { maxRounds: 8, untilPages: 100 };

test('when enough rounds have been made', () => {
  const cases: readonly (readonly [pages: readonly number[], decision: ReturnType<typeof decide>])[] = [
    [[], 'go-on'],
    [[5000], 'go-on'],
    [[100], 'few-left'],
    [[5000, 800, 90], 'few-left'],
    [[5000, 800, 90, 0], 'few-left'],
    [[5000, 800, 400, 200, 150, 120], 'go-on'],
    // As many as before: it may be chance once.
    [[5000, 800, 800], 'go-on'],
    [[5000, 800, 800, 800], 'not-falling'],
    [[5000, 800, 2000, 700], 'go-on'],
    [[5000, 800, 2000, 790], 'not-falling'],
    [[5000, 6000, 7000], 'not-falling'],
    [[9000, 8000, 7000, 6000, 5000, 4000, 3000, 2000], 'rounds-used'],
    [[9000, 8000, 7000, 6000, 5000, 4000, 3000, 20], 'few-left'],
  ];
  for (const [pages, decision] of cases) assert.equal(decide(pages, LIMITS), decision, pages.join(' '));
});

/** A process that writes so many pages while each round is copied. */
function writing(...pages: readonly number[]): { next: () => Round; made: () => number } {
  let made = 0;
  const next = (): Round => ({ written: [], gone: [], writtenBytes: (pages[made++] ?? pages.at(-1)!) * 4096 });
  return { next, made: () => made };
}

test('every round is copied, in order, before the next is made', async () => {
  const tracker = writing(1000, 500, 50);
  const seen: string[] = [];
  const result = await iterate(tracker, {
    ...LIMITS,
    onRound: async (round, index) => {
      seen.push(`${index}: ${round.writtenBytes / 4096}`);
      await Promise.resolve();
      assert.equal(tracker.made(), index + 1);
    },
  });
  assert.deepEqual(seen, ['0: 1000', '1: 500', '2: 50']);
  assert.deepEqual(result, { end: 'few-left', pages: [1000, 500, 50] });
});

test('it ends whatever the process does', () =>
  fc.assert(
    fc.asyncProperty(fc.array(fc.nat(10_000), { minLength: 1 }), async (pages) => {
      const result = await iterate(writing(...pages), { ...LIMITS, onRound: () => undefined });
      assert.ok(result.pages.length <= LIMITS.maxRounds);
      assert.equal(decide(result.pages, LIMITS), result.end);
    }),
  ));

test('a copy that fails ends it', async () => {
  const onRound = (): never => {
    throw new Error('the line broke');
  };
  await assert.rejects(iterate(writing(1000), { ...LIMITS, onRound }), /the line broke/);
});
