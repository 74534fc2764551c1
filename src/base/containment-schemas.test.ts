import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsSpec } from './containment-schemas.ts';
import type { Problem } from './schema.ts';

function memoryOf(value: unknown): number | string | undefined {
  const problems: Problem[] = [];
  const read = limitsSpec.read({ memory: value }, [], (problem) => problems.push(problem));
  return read?.memory ?? problems[0]?.found;
}

test('bytes are a number, or one with a unit', () => {
  const cases: readonly [unknown, number][] = [
    [1, 1],
    [4096, 4096],
    ['1K', 1024],
    ['512M', 512 * 2 ** 20],
    ['2G', 2 ** 31],
    ['3T', 3 * 2 ** 40],
  ];
  for (const [value, expected] of cases) assert.equal(memoryOf(value), expected, String(value));
});

test('anything else is refused with what was found', () => {
  for (const value of ['512', '512 M', '512m', '512MB', '0M', '-1M', '1.5G', '1e3M', 'M', '', '9007199254740993K'])
    assert.equal(memoryOf(value), JSON.stringify(value));
  assert.equal(memoryOf(0), '0');
  assert.equal(memoryOf(1.5), '1.5');
  assert.equal(memoryOf('9999999T'), '"9999999T"');
});
