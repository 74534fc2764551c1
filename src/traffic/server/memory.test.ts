import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ballast, PAGE_BYTES } from './memory.ts';

test('a size is rounded up to whole pages', () => {
  assert.equal(new Ballast(1).pages, 1);
  assert.equal(new Ballast(PAGE_BYTES).pages, 1);
  assert.equal(new Ballast(PAGE_BYTES + 1).pages, 2);
});

test('touching finds every page intact and reaches nearly all of them evenly', () => {
  const pages = 1000;
  const ballast = new Ballast(pages * PAGE_BYTES);
  for (let round = 0; round < 100; round++) assert.equal(ballast.touch(pages / 10), undefined);
  // 10,000 touches of 1,000 pages: an even spread leaves none out.
  assert.deepEqual(
    Array.from(ballast.touches()).filter((count) => count === 0 || count > 12),
    [],
  );
});

test('two servers with the same memory touch the same pages in the same order', () => {
  const [one, other] = [new Ballast(64 * PAGE_BYTES), new Ballast(64 * PAGE_BYTES)];
  one.touch(37);
  for (let i = 0; i < 37; i++) other.touch(1);
  assert.deepEqual(one.touches(), other.touches());
});

test('a page that was lost or swapped is named', () => {
  const ballast = new Ballast(8 * PAGE_BYTES);
  ballast.content().fill(0, 5 * 1024, 6 * 1024);
  const found = new Set(Array.from({ length: 64 }, () => ballast.touch(1)));
  assert.deepEqual(found, new Set([undefined, 5]));
});
