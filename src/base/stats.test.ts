import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarise } from './stats.ts';

test('minimum, median, 90th percentile and maximum of unsorted values', () => {
  assert.deepEqual(summarise([5, 1, 4, 2, 3]), { count: 5, min: 1, median: 3, p90: 5, max: 5 });
  assert.deepEqual(summarise([7]), { count: 1, min: 7, median: 7, p90: 7, max: 7 });
});
