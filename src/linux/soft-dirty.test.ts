import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEntries } from './soft-dirty.ts';
import { OwnPages } from './write-scan.ts';

const NO_ZEROS = (): boolean => false;

/** Entries of /proc/PID/pagemap as they stand in the file, in hexadecimal digits of the whole word. */
function entries(...words: readonly string[]): Uint32Array {
  return new Uint32Array(BigUint64Array.from(words, (word) => BigInt(`0x${word}`)).buffer);
}

/** Which pages are own, and which of them changed, as letters: `.` not own, `o` own, `c` changed. */
function picture(words: Uint32Array, isZero: (frame: number, address: number) => boolean = NO_ZEROS): string {
  const seen = new OwnPages();
  readEntries(words, 0x10000, isZero, seen);
  const letters = Array<string>(words.length / 2).fill('.');
  for (const [runs, letter] of [
    [seen.own, 'o'],
    [seen.changed, 'c'],
  ] as const)
    for (const { start, length } of runs.toRanges())
      letters.fill(letter, (Number(start) - 0x10000) / 4096, (Number(start) + length - 0x10000) / 4096);
  return letters.join('');
}

// As Documentation/admin-guide/mm/pagemap.rst lays them out: present, swapped, file, soft-dirty, frame or place in the swap.
const UNTOUCHED = '0000000000000000';
const WRITTEN = '8180000000001234';
const CLEAN = '8100000000001235';
const OF_A_FILE = 'a080000000005678';
const SWAPPED_OUT = '4000000000000400';
const SWAPPED_DIRTY = '4080000000000400';
const ZEROS = '8000000000000042';
/** In an area that is new all bits are set, also where no page is. */
const UNTOUCHED_NEW = '0080000000000000';

test('what the entries of pagemap say', () => {
  assert.equal(picture(entries(UNTOUCHED, WRITTEN, CLEAN, OF_A_FILE)), '.co.');
  assert.equal(picture(entries(SWAPPED_OUT, SWAPPED_DIRTY, UNTOUCHED_NEW)), 'oc.');
  assert.equal(picture(entries()), '');
});

test('runs that touch are one, and end where the entries end', () => {
  const seen = new OwnPages();
  readEntries(entries(WRITTEN, WRITTEN, CLEAN, WRITTEN), 0, NO_ZEROS, seen);
  assert.deepEqual(seen.own.toRanges(), [{ start: 0n, length: 4 * 4096 }]);
  assert.deepEqual(seen.changed.toRanges(), [
    { start: 0n, length: 2 * 4096 },
    { start: 3n * 4096n, length: 4096 },
  ]);
});

test('pages of zeros are not own, told by frame and address', () => {
  const asked: [number, number][] = [];
  const isZero = (frame: number, address: number): boolean => {
    asked.push([frame, address]);
    return frame === 0x42;
  };
  assert.equal(picture(entries(ZEROS, CLEAN, ZEROS), isZero), '.o.');
  assert.deepEqual(asked, [
    [0x42, 0x10000],
    [0x1235, 0x11000],
    [0x42, 0x12000],
  ]);
});

test('frames beyond the first 16 terabytes', () => {
  const seen = new OwnPages();
  let frame = 0;
  readEntries(
    entries('8100012300001235'),
    0,
    (asked) => {
      frame = asked;
      return false;
    },
    seen,
  );
  assert.equal(frame, 0x123_0000_1235);
});
