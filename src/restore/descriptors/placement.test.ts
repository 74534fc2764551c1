import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { rangesToClose, waitingNumbers } from './placement.ts';

const numbers = fc.uniqueArray(fc.nat(60)).map((list) => list.toSorted((a, b) => a - b));

test('waiting numbers are free, different, and the lowest that are', () => {
  fc.assert(
    fc.property(numbers, fc.nat(20), (taken, count) => {
      const waiting = waitingNumbers(count, new Set(taken));
      assert.equal(new Set(waiting).size, count);
      assert.ok(waiting.every((number) => !taken.includes(number)));
      const highest = Math.max(-1, ...waiting);
      for (let number = 0; number < highest; number++) assert.ok(taken.includes(number) || waiting.includes(number));
    }),
  );
});

test('what is closed is everything that is not kept', () => {
  fc.assert(
    fc.property(numbers, (kept) => {
      const ranges = rangesToClose(kept.map((number) => ({ number, description: 0, closeOnExec: false })));
      for (let number = 0; number < 100; number++) {
        const closing = ranges.filter(({ first, last }) => first <= number && number <= last);
        assert.equal(closing.length, kept.includes(number) ? 0 : 1, `number ${number}`);
      }
      assert.ok(ranges.every(({ first, last }) => first <= last));
    }),
  );
});
