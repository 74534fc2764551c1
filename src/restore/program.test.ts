import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findRoom } from './program.ts';

test('room is found below, between and above what is there', () => {
  const span = (start: bigint, end: bigint): { start: bigint; end: bigint } => ({ start, end });
  assert.equal(findRoom([], 0x1000n), 0x10000000n);
  assert.equal(findRoom([span(0x400000n, 0x500000n)], 0x1000n), 0x10000000n);
  assert.equal(findRoom([span(0x10000000n, 0x10002000n), span(0x10003000n, 0x20000000n)], 0x1000n), 0x10002000n);
  assert.equal(findRoom([span(0x10003000n, 0x20000000n), span(0x10000000n, 0x10002000n)], 0x2000n), 0x20000000n);
});

test('room never overlaps anything', () => {
  const span = fc.tuple(fc.nat(200), fc.integer({ min: 1, max: 40 })).map(([at, pages]) => {
    const start = 0xfff0000n + BigInt(at) * 0x1000n;
    return { start, end: start + BigInt(pages) * 0x1000n };
  });
  fc.assert(
    fc.property(fc.array(span, { maxLength: 20 }), fc.integer({ min: 1, max: 30 }), (spans, pages) => {
      const size = BigInt(pages) * 0x1000n;
      const room = findRoom(spans, size);
      assert.ok(spans.every(({ start, end }) => room + size <= start || room >= end));
    }),
  );
});
