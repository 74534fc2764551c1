import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { ComicranError, ERROR_CODES, type ErrorCode, isErrorCode } from '../base/errors.ts';
import { errorOf, failureOf, fromRpcError, toRpcError } from './failures.ts';
import { FailureSchema } from './gen/comicran_pb.ts';

const codes = Object.keys(ERROR_CODES).filter(isErrorCode) as [ErrorCode, ...ErrorCode[]];

test('any error survives the way there and back', () => {
  fc.assert(
    fc.property(fc.constantFrom(...codes), fc.string(), fc.option(fc.string({ minLength: 1 })), (code, text, hint) => {
      const error = new ComicranError(code, text, hint === null ? {} : { hint });
      const back = fromRpcError(toRpcError(error));
      assert.deepEqual([back?.code, back?.message, back?.hint], [code, text, hint ?? undefined]);
      assert.equal(back?.cause, undefined);
    }),
  );
});

test('causes travel as words, and not without end', () => {
  const circular = new Error('a');
  circular.cause = circular;
  assert.equal(failureOf(new ComicranError('usage', 'x', { cause: circular })).causes.length, 8);
  const failure = failureOf(new ComicranError('usage', 'x', { cause: new Error('a', { cause: 'b' }) }), 'vm1');
  assert.deepEqual(failure.causes, ['a', 'b']);
  assert.equal(failure.runsOn, 'vm1');
});

test('a code of a version that we do not know is still a refusal', () => {
  const error = errorOf(create(FailureSchema, { code: 'of.the-future', message: 'no' }));
  assert.deepEqual([error.code, error.message], ['peer.refused', 'no']);
});
