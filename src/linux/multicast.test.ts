import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIgmp, parseIgmp6 } from './multicast.ts';

test('the groups of /proc/net/igmp, each with its interface', () => {
  const text = `Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
4\teth0      :     2      V3
\t\t\t\t030201EF     1 0:00000000\t\t1
\t\t\t\t010000E0     1 0:00000000\t\t0\n`;
  assert.deepEqual(parseIgmp(text), [
    { interfaceIndex: 1, device: 'lo', group: Buffer.from([224, 0, 0, 1]) },
    { interfaceIndex: 4, device: 'eth0', group: Buffer.from([239, 1, 2, 3]) },
    { interfaceIndex: 4, device: 'eth0', group: Buffer.from([224, 0, 0, 1]) },
  ]);
});

test('the groups of /proc/net/igmp6', () => {
  const text = '1    lo              ff020000000000000000000000000001     1 0000000C 0\n';
  const group = Buffer.from('ff020000000000000000000000000001', 'hex');
  assert.deepEqual(parseIgmp6(text), [{ interfaceIndex: 1, device: 'lo', group }]);
  assert.deepEqual(parseIgmp6(''), []);
});
