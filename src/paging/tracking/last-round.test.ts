import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PageRuns } from '../../linux/page-runs.ts';
import { type CopiedPages, LastRound } from './last-round.ts';

const PAGE = 4096;
const PAGES = 20;

const pages = fc.array(fc.boolean(), { minLength: PAGES, maxLength: PAGES });

function runsOf(has: readonly boolean[]): PageRuns {
  const runs = new PageRuns();
  for (const [page, set] of has.entries()) if (set) runs.append(page * PAGE, (page + 1) * PAGE);
  return runs;
}

/** Pages that are full of their number, and of `base` more. */
function copied(has: readonly boolean[], base: number): CopiedPages {
  const numbers = [...has.entries()].filter(([, set]) => set).map(([page]) => page);
  return { runs: runsOf(has), bytes: Buffer.concat(numbers.map((page) => Buffer.alloc(PAGE, base + page))) };
}

test('pages copied before the stop and in it', () => {
  fc.assert(
    fc.property(pages, pages, pages, pages, (inStop, before, others, told) => {
      const own = others.map((set, page) => set || inStop[page]!);
      const last = new LastRound(copied(inStop, 100), copied(before, 0), { own: runsOf(own), told: runsOf(told) });
      const expected = own.flatMap((set, page) => {
        if (inStop[page]!) return [[page, 100 + page]];
        return set && before[page]! ? [[page, page]] : [];
      });
      assert.equal(last.writtenBytes, expected.length * PAGE);
      assert.equal(last.bytesInStop, inStop.filter(Boolean).length * PAGE);
      // In one go, and page by page.
      const into = Buffer.alloc(last.writtenBytes);
      last.read(last.written, into);
      const ones = last.written.flatMap(({ start, length }) =>
        Array.from({ length: length / PAGE }, (_, index) => ({ start: start + BigInt(index * PAGE), length: PAGE })),
      );
      assert.deepEqual(
        ones.map(({ start }, index) => [Number(start) / PAGE, into[index * PAGE]]),
        expected,
      );
      for (const [index, range] of ones.entries()) {
        const page = Buffer.alloc(PAGE);
        last.read([range], page);
        assert.ok(page.every((byte) => byte === expected[index]![1]));
      }
      const gone = last.gone.reduce((sum, { length }) => sum + length / PAGE, 0);
      assert.equal(gone, told.filter((set, page) => set && !own[page]!).length);
    }),
  );
});

test('a page that was not copied is not read', () => {
  const none = Array<boolean>(PAGES).fill(false);
  const last = new LastRound(copied(none, 0), copied(none, 0), { own: runsOf(none), told: runsOf(none) });
  assert.throws(() => last.read([{ start: 0n, length: PAGE }], Buffer.alloc(PAGE)));
});
