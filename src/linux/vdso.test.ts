import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usesStack } from './vdso.ts';

const uses = (code: string): boolean => usesStack(Buffer.from(code, 'hex'), 0);

test('code that returns uses the stack, also when it clears registers before', () => {
  assert.equal(uses('c3'), true);
  assert.equal(uses('c9c3'), true);
  assert.equal(uses('5dc3'), true);
  assert.equal(uses('31d231c931f631ff4531dbc3'), true);
});

test('code that does something else does not, nor what changes rax, nor the end of the code', () => {
  assert.equal(uses('488d65f05bc3'), false);
  assert.equal(uses('31c0c3'), false);
  assert.equal(uses('31d2'), false);
});
