import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatBytes, formatMicros, formatMicrosRange, plural } from './units.ts';

test('bytes', () => {
  assert.equal(formatBytes(0), '0 B');
  assert.equal(formatBytes(1023), '1023 B');
  assert.equal(formatBytes(1536), '1.5 KiB');
  assert.equal(formatBytes(45 * 1024 * 1024), '45 MiB');
});

test('microseconds', () => {
  assert.equal(formatMicros(850.4), '850 µs');
  assert.equal(formatMicros(12_345), '12.3 ms');
  assert.equal(formatMicros(150_000), '150 ms');
  assert.equal(formatMicros(4_200_000), '4.2 s');
});

test('ages', () => {
  assert.equal(formatAge(61_000), '61 s');
  assert.equal(formatAge(300_000), '5 min');
  assert.equal(formatAge(3 * 3_600_000), '3 h');
});

test('a range has two figures an end, and a unit once where it is the same', () => {
  const cases: readonly (readonly [number, number, string])[] = [
    [1400, 5600, '1.4 to 5.6 ms'],
    [1404, 36_858, '1.4 to 37 ms'],
    [95_548, 1_254_550, '96 ms to 1.3 s'],
    [140, 960, '140 to 960 µs'],
    [700, 2800, '700 µs to 2.8 ms'],
    [11_785, 311_124, '12 to 310 ms'],
    [996, 996, '1.0 ms'],
    [12_000_000, 48_000_000, '12 to 48 s'],
  ];
  for (const [least, most, text] of cases) assert.equal(formatMicrosRange(least, most), text);
});

test('one and many', () => {
  assert.deepEqual([plural(0, 'page'), plural(1, 'page'), plural(2, 'page')], ['0 pages', '1 page', '2 pages']);
});
