import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { EBADF } from './errno.ts';
import { SyscallBatch } from './syscall-batch.ts';
import { SYS } from './syscall-numbers.ts';

test('every call is made, in its order, also behind one that fails', () => {
  const file = openSync('/proc/self/stat', 'r');
  try {
    const into = Buffer.alloc(16);
    const batch = new SyscallBatch(4);
    batch.add(SYS.read, file, into, 4);
    const failing = batch.add(SYS.read, -1, into, 4);
    batch.add(SYS.read, file, into.subarray(4), 12);
    for (const position of [0, 0]) {
      batch.run();
      assert.equal(batch.result(position), 4);
      assert.equal(batch.result(failing), -EBADF);
      assert.equal(batch.result(2), 12);
      assert.equal(batch.allZero, false);
    }
    assert.equal(batch.length, 3);
  } finally {
    closeSync(file);
  }
});

test('an argument can be changed between two runs', () => {
  const batch = new SyscallBatch(1);
  batch.add(SYS.pread64, -1, Buffer.alloc(4), 4, 0);
  batch.run();
  assert.equal(batch.result(0), -EBADF);
  const file = openSync('/proc/self/stat', 'r');
  batch.set(0, 0, file);
  batch.run();
  closeSync(file);
  assert.equal(batch.result(0), 4);
});

test('a batch without calls does nothing, and is all zero', () => {
  const batch = new SyscallBatch(1);
  batch.run();
  assert.equal(batch.allZero, true);
});
