import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeMessage, MESSAGE_BYTES } from './userfaultfd.ts';

/** A struct uffd_msg: the event, and the words behind its eight bytes of head. */
function message(event: number, ...words: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(MESSAGE_BYTES);
  bytes[0] = event;
  for (const [index, word] of words.entries()) bytes.writeBigUInt64LE(word, 8 + index * 8);
  return bytes;
}

test('messages of userfaultfd are told apart', () => {
  assert.deepEqual(decodeMessage(message(0x12, 1n, 0x7000n, 42n)), {
    event: 'fault',
    address: 0x7000n,
    write: true,
    protected: false,
    tid: 42,
  });
  const protectedPage = decodeMessage(message(0x12, 3n, 0x7000n));
  assert.ok(protectedPage.event === 'fault' && protectedPage.protected);
  assert.deepEqual(decodeMessage(message(0x13, 9n)), { event: 'fork', descriptor: 9 });
  assert.deepEqual(decodeMessage(message(0x14, 1n, 2n, 3n)), { event: 'remap', from: 1n, to: 2n, length: 3n });
  assert.deepEqual(decodeMessage(message(0x15, 1n, 2n)), { event: 'remove', start: 1n, end: 2n });
  assert.deepEqual(decodeMessage(message(0x16, 1n, 2n)), { event: 'unmap', start: 1n, end: 2n });
  assert.throws(() => decodeMessage(message(0x17)));
});

test('one message out of several', () => {
  const bytes = Buffer.concat([message(0x15, 1n, 2n), message(0x16, 3n, 4n)]);
  assert.deepEqual(decodeMessage(bytes, MESSAGE_BYTES), { event: 'unmap', start: 3n, end: 4n });
});
