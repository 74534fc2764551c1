import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Spin } from './spin.ts';

/** Looks at a clock on which each look takes 10 µs. @returns how many there were. */
function looks(spin: Spin, found: (look: number) => boolean): number {
  let count = 0;
  spin.until(() => {
    micros += 10;
    return found(++count);
  });
  return count;
}
let micros = 0;

test('an answer is looked for as long as that pays', () => {
  const spin = new Spin(50, () => micros);
  for (let round = 0; round < 10; round++)
    assert.equal(
      looks(spin, (look) => look === 3),
      3,
    );
  for (let round = 0; round < 4; round++)
    assert.equal(
      looks(spin, () => false),
      5,
    );
  for (let round = 0; round < 64; round++)
    assert.equal(
      looks(spin, () => false),
      0,
      'it rests',
    );
  assert.equal(
    looks(spin, () => false),
    5,
    'it is tried again',
  );
  assert.equal(
    looks(spin, () => false),
    0,
  );
  for (let round = 0; round < 63; round++) looks(spin, () => false);
  for (let round = 0; round < 5; round++)
    assert.equal(
      looks(spin, () => true),
      1,
      'it pays again',
    );
});

test('no time, no look', () => {
  assert.equal(
    looks(new Spin(0, () => micros), () => true),
    0,
  );
});
