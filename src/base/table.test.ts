import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable } from './table.ts';

test('columns are as wide as their widest cell, numbers stand right, no line ends in a space', () => {
  const table = formatTable<{ name: string; count: number }>(
    [
      { title: 'name', cell: (row) => row.name },
      { title: 'count', cell: (row) => String(row.count), align: 'right' },
    ],
    [
      { name: 'square', count: 7 },
      { name: 'b', count: 12345 },
    ],
  );
  assert.equal(table, 'NAME    COUNT\nsquare      7\nb       12345\n');
});
