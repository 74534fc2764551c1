import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../../base/errors.ts';
import { carry, uncarry } from './carried-error.ts';

test('code, hint and cause cross a thread', () => {
  const error = new ComicranError('peer.died', 'gone', { hint: 'Look.', cause: new Error('EPIPE') });
  const back = uncarry(structuredClone(carry(error)));
  assert.ok(back instanceof ComicranError);
  assert.deepEqual([back.code, back.message, back.hint], ['peer.died', 'gone', 'Look.']);
  assert.ok(back.cause instanceof Error);
  assert.equal(back.cause.message, 'EPIPE');
});

test('a bug stays a bug, with its stack', () => {
  const error = new TypeError('x is undefined');
  const back = uncarry(structuredClone(carry(error)));
  assert.ok(!(back instanceof ComicranError));
  assert.equal(back.stack, error.stack);
});
