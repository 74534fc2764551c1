import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import { parseReceiveBacklogs, receiveBacklogs } from './receive-backlogs.ts';

describe('receive backlogs', () => {
  test('the fill of every CPU, in hexadecimal, in its column', () => {
    const text = [
      '0130b1a5 0000236c 00000d21 00000000 00000000 00000000 00000000 00000000 00000000 00000a2c 00000000 000003e8 00000000 000003e0 00000008\n',
      '00dc3a11 00000003 00000861 00000000 00000000 00000000 00000000 00000000 00000000 0000bb01 00000000 00000000 00000001 00000000 00000000\n',
    ];
    assert.deepEqual(parseReceiveBacklogs(text.join('')), [1000, 0]);
  });

  test('of this machine', () => {
    const backlogs = receiveBacklogs();
    assert.ok(backlogs.length >= availableParallelism());
    for (const packets of backlogs) assert.ok(Number.isInteger(packets) && packets >= 0);
  });
});
