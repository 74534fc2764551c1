import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../../base/errors.ts';
import { checkSnapshot, smallPageBytes, snapshotFields } from './snapshot-choice.ts';

test('a way that there is not is refused, and none leaves it to the size', () => {
  assert.deepEqual(['', 'fork', 'tracked'].map(checkSnapshot), [undefined, 'fork', 'tracked']);
  assert.throws(
    () => checkSnapshot('camera'),
    (thrown: unknown) => thrown instanceof ComicranError && thrown.code === 'migration.refused',
  );
});

test('memory of a process itself counts, and what it shares with files does not', () => {
  const before = smallPageBytes(process.pid);
  assert.ok(before > 1 << 20);
  const more = Buffer.alloc(8 << 20, 1);
  assert.ok(smallPageBytes(process.pid) - before >= more.length / 2);
});

test('messages have the way and the reason, or neither', () => {
  assert.deepEqual(snapshotFields({ way: 'fork', why: 'it is small' }), {
    snapshot: 'fork',
    snapshotWhy: 'it is small',
  });
  assert.deepEqual(snapshotFields(undefined), {});
});
