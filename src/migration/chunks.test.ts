import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BufferRing, chunksOf, totalLength } from './chunks.ts';
import { MAX_RANGES } from './messages.ts';
import type { PageRange } from './ports.ts';

const pages = (start: number, count: number): PageRange => ({ start: BigInt(start) * 4096n, length: count * 4096 });

test('small ranges travel together, large ones are cut, in order', () => {
  const chunks = [...chunksOf([pages(0, 1), pages(10, 2), pages(20, 6)], 4 * 4096)];
  assert.deepEqual(chunks, [
    { ranges: [pages(0, 1), pages(10, 2), pages(20, 1)], bytes: 4 * 4096 },
    { ranges: [pages(21, 4)], bytes: 4 * 4096 },
    { ranges: [pages(25, 1)], bytes: 4096 },
  ]);
  assert.deepEqual([...chunksOf([], 4096)], []);
});

test('every page is in exactly one chunk, no chunk is over its limits, all but the last are as full as they can be', () => {
  const layout = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 40 })), { maxLength: 60 });
  fc.assert(
    fc.property(layout, fc.integer({ min: 1, max: 12 }), (gaps, chunkPages) => {
      let at = 0;
      const ranges = gaps.map(([gap, count]) => {
        at += gap + count;
        return pages(at - count, count);
      });
      const chunks = [...chunksOf(ranges, chunkPages * 4096)];
      const pagesOf = (all: readonly PageRange[]): bigint[] =>
        all.flatMap((range) =>
          Array.from({ length: range.length / 4096 }, (_, index) => range.start / 4096n + BigInt(index)),
        );
      assert.deepEqual(
        chunks.flatMap((chunk) => pagesOf(chunk.ranges)),
        pagesOf(ranges),
      );
      for (const [index, chunk] of chunks.entries()) {
        assert.equal(chunk.bytes, totalLength(chunk.ranges));
        assert.ok(chunk.bytes <= chunkPages * 4096 && chunk.ranges.length <= MAX_RANGES);
        if (index < chunks.length - 1) assert.equal(chunk.bytes, chunkPages * 4096);
      }
    }),
  );
});

test('more ranges than one call may have are divided', () => {
  const single = Array.from({ length: 2 * MAX_RANGES + 1 }, (_, index) => pages(2 * index, 1));
  assert.deepEqual(
    [...chunksOf(single, 1 << 30)].map((chunk) => chunk.ranges.length),
    [MAX_RANGES, MAX_RANGES, 1],
  );
});

test('a buffer is not filled again before it has been sent, and the next one is filled meanwhile', async () => {
  const ring = new BufferRing(2, 4);
  const gates: (() => void)[] = [];
  const events: string[] = [];
  const use = (name: string): Promise<void> =>
    ring.use(
      () => void events.push(`fill ${name}`),
      () => {
        events.push(`send ${name}`);
        return new Promise((resolve) => gates.push(resolve));
      },
    );
  await use('a');
  await use('b');
  const third = use('c');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(events, ['fill a', 'send a', 'fill b', 'send b']);
  gates[0]?.();
  await third;
  assert.deepEqual(events.slice(4), ['fill c', 'send c']);
  gates[1]?.();
  gates[2]?.();
  await ring.flush();
});

test('a send that fails is reported at the next use of its buffer, or in flush', async () => {
  const ring = new BufferRing(1, 4);
  const failing = () => Promise.reject(new Error('broken'));
  await ring.use(() => {}, failing);
  await assert.rejects(
    ring.use(() => {}, failing),
    /broken/,
  );
  await assert.rejects(ring.flush(), /broken/);
});
