/** docs/errors.md has every error code, with the sentence of the catalogue, and no other. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES } from '../src/base/errors.ts';

test('docs/errors.md says of every code what the catalogue says', () => {
  const text = readFileSync(join(import.meta.dirname, '../docs/errors.md'), 'utf8');
  const documented = Object.fromEntries(
    [...text.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)].map((match) => [match[1], match[2]]),
  );
  assert.deepEqual(documented, { ...ERROR_CODES });
});
