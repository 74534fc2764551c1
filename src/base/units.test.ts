import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatBytes, formatMicros } from './units.ts';

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
