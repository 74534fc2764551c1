import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PAGE_BYTES } from './messages.ts';
import type { PageRange } from './ports.ts';
import { StagedPages } from './staged-pages.ts';

const range = (page: number, count: number): PageRange => ({
  start: BigInt(page * PAGE_BYTES),
  length: count * PAGE_BYTES,
});
const filled = (count: number, value: number): Uint8Array => new Uint8Array(count * PAGE_BYTES).fill(value);

test('pages that lie together come together, a later copy replaces the earlier one, and others are forgotten', () => {
  const staged = new StagedPages();
  assert.equal(staged.put([range(1, 2), range(5, 2)], filled(4, 1)), true);
  assert.equal(staged.put([range(2, 1)], filled(1, 2)), false, 'the bytes are not needed any more');
  assert.equal(staged.count, 4);
  const absent: number[] = [];
  const pieces = [...staged.pieces([range(1, 3), range(6, 1)], 1 << 20, (page) => absent.push(page))];
  assert.deepEqual(
    pieces.map((piece) => piece.range),
    [range(1, 2), range(6, 1)],
  );
  assert.deepEqual([...new Set(pieces[0]!.bytes)], [1, 2]);
  assert.equal(pieces[0]!.bytes[PAGE_BYTES], 2);
  assert.deepEqual(absent, [3]);
});

test("whatever comes in whatever order, every page that is the process's own has its last copy", () => {
  const copies = fc.array(fc.record({ page: fc.nat(20), count: fc.integer({ min: 1, max: 5 }) }), { maxLength: 12 });
  const own = fc.uniqueArray(fc.nat(24)).map((pages) => pages.toSorted((a, b) => a - b));
  fc.assert(
    fc.property(copies, own, fc.integer({ min: 1, max: 4 }), (rounds, wanted, maxPages) => {
      const staged = new StagedPages();
      const expected = new Map<number, number>();
      for (const [value, { page, count }] of rounds.entries()) {
        staged.put([range(page, count)], filled(count, value));
        for (let at = page; at < page + count; at++) expected.set(at, value);
      }
      const found = new Map<number, number>();
      const absent: number[] = [];
      const ranges = wanted.map((page) => range(page, 1));
      for (const piece of staged.pieces(ranges, maxPages * PAGE_BYTES, (page) => absent.push(page))) {
        assert.equal(piece.bytes.length, piece.range.length);
        assert.ok(piece.bytes.length <= maxPages * PAGE_BYTES);
        const first = Number(piece.range.start) / PAGE_BYTES;
        for (let at = 0; at < piece.bytes.length; at += PAGE_BYTES)
          found.set(first + at / PAGE_BYTES, piece.bytes[at]!);
      }
      for (const page of wanted) assert.equal(found.get(page), expected.get(page));
      assert.deepEqual(
        absent,
        wanted.filter((page) => !expected.has(page)),
      );
      assert.equal(found.size + absent.length, wanted.length);
    }),
  );
});
