import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { splitWords } from './words.ts';

test('words, quotes and backslashes', () => {
  assert.deepEqual(splitWords('  start "my file.yaml" --on vm1 '), ['start', 'my file.yaml', '--on', 'vm1']);
  assert.deepEqual(splitWords(`a\\ b '' 'c"d'`), ['a b', '', 'c"d']);
  assert.deepEqual(splitWords(''), []);
  assert.throws(() => splitWords('start "x'), /not closed/);
});

test('quoted words come back as they were', () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      const line = words.map((word) => `'${word.replaceAll("'", `'"'"'`)}'`).join(' ');
      assert.deepEqual(splitWords(line), words);
    }),
  );
});
