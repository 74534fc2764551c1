import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { MissingPages } from './missing-pages.ts';

const SPACE = 40;
const page = fc.nat(SPACE - 1);
const count = fc.integer({ min: 1, max: 12 });

type Step =
  | { do: 'remove'; page: number; count: number }
  | { do: 'move'; page: number; to: number; count: number }
  | { do: 'request'; page: number; count: number; most: number }
  | { do: 'forget' };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('remove' as const), page, count }),
  fc.record({ do: fc.constant('move' as const), page, to: page, count }),
  fc.record({ do: fc.constant('request' as const), page, count, most: count }),
  fc.record({ do: fc.constant('forget' as const) }),
);

/** The same, page by page. */
type Model = Map<number, { source: number; requested: boolean }>;

function apply(pages: MissingPages, model: Model, action: Step): void {
  switch (action.do) {
    case 'remove': {
      let removed = 0;
      for (let at = action.page; at < action.page + action.count; at++) if (model.delete(at)) removed++;
      assert.equal(pages.remove(action.page, action.page + action.count), removed);
      break;
    }
    case 'move': {
      const moved = new Map<number, { source: number; requested: boolean }>();
      for (let index = 0; index < action.count; index++) {
        const state = model.get(action.page + index);
        if (state !== undefined) moved.set(action.to + index, state);
        model.delete(action.page + index);
      }
      for (let index = 0; index < action.count; index++) model.delete(action.to + index);
      for (const [at, state] of moved) model.set(at, state);
      pages.move(action.page, action.to, action.count);
      break;
    }
    case 'request': {
      const run = pages.request(action.page, action.page + action.count, action.most);
      const wanted = Array.from({ length: action.count }, (_, index) => action.page + index).find(
        (at) => model.get(at)?.requested === false,
      );
      assert.equal(run?.page, wanted);
      if (run === undefined) break;
      assert.ok(run.count >= 1 && run.count <= action.most && run.page + run.count <= action.page + action.count);
      for (let index = 0; index < run.count; index++) {
        const state = model.get(run.page + index);
        assert.deepEqual(state, { source: run.source + index, requested: false });
        state!.requested = true;
      }
      break;
    }
    default:
      for (const state of model.values()) state.requested = false;
      pages.forgetRequests();
  }
}

function compare(pages: MissingPages, model: Model): void {
  assert.equal(pages.count, model.size);
  for (let at = 0; at < SPACE * 2; at++) {
    assert.equal(pages.sourceOf(at), model.get(at)?.source);
    assert.equal(pages.has(at), model.has(at));
    let gap = 0;
    while (gap < 5 && !model.has(at + gap)) gap++;
    assert.equal(pages.gap(at, 5), gap);
  }
  const found = pages
    .runs()
    .flatMap((run) => Array.from({ length: run.count }, (_, i) => [run.page + i, run.source + i]));
  const expected = [...model].map(([at, { source }]) => [at, source]).toSorted((a, b) => a[0]! - b[0]!);
  assert.deepEqual(found, expected);
  for (const [from, length] of [
    [0, SPACE],
    [7, 5],
  ] as const) {
    const there = pages
      .whereSource(from, length)
      .flatMap((run) => Array.from({ length: run.count }, (_, i) => run.page + i));
    const wanted = [...model].filter(([, { source }]) => source >= from && source < from + length).map(([at]) => at);
    assert.deepEqual(
      there.toSorted((a, b) => a - b),
      wanted.toSorted((a, b) => a - b),
    );
  }
}

test('missing pages behave as a set of pages with their sources', () => {
  fc.assert(
    fc.property(fc.uniqueArray(page, { maxLength: SPACE }), fc.array(step, { maxLength: 25 }), (first, steps) => {
      const sorted = first.toSorted((a, b) => a - b);
      const pages = MissingPages.at(sorted.map((at) => ({ page: at, count: 1 })));
      const model: Model = new Map(sorted.map((at) => [at, { source: at, requested: false }]));
      compare(pages, model);
      for (const action of steps) {
        apply(pages, model, action);
        compare(pages, model);
      }
      compare(pages.clone(), model);
    }),
    { numRuns: 300 },
  );
});

test('what hangs together with a page', () => {
  const pages = new MissingPages([
    { page: 10, count: 10, source: 10 },
    { page: 20, count: 5, source: 120 },
  ]);
  assert.deepEqual(pages.around(12, 8, 16), {
    before: { page: 10, count: 2, source: 10 },
    behind: { page: 13, count: 3, source: 13 },
  });
  // Not over the border to memory that comes from elsewhere.
  assert.deepEqual(pages.around(19, 16, 24), {
    before: { page: 16, count: 3, source: 16 },
    behind: { page: 20, count: 0, source: 20 },
  });
  // What is requested already hangs together too.
  pages.request(10, 20, 4);
  assert.equal(pages.around(12, 8, 16).behind.count, 3);
  assert.equal(pages.around(15, 8, 16).before.count, 5);
});
