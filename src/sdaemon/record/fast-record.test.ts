import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FastRecord, type RecordLine } from './fast-record.ts';

test('an answer is waited for so many times as long as the machines are slow', async () => {
  const waited: number[] = [];
  const line: RecordLine = {
    send: async () => undefined,
    async receive(timeoutMs) {
      waited.push(timeoutMs);
      return { type: 'RECORD', owner: 'vm2', epoch: 2n };
    },
    close: () => undefined,
  };
  for (const patience of [1, 8]) {
    using record = new FastRecord(line, () => 0, patience);
    assert.deepEqual(await record.take(1n), { owner: 'vm2', epoch: 2n });
  }
  const [usual, patient] = waited;
  assert.equal(patient, 8 * usual!);
});
