import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byMachine } from './machine-settings.ts';

test('a choice is for one machine by name, or for all of them', () => {
  const names = ['vm1', 'vm2'];
  assert.deepEqual(byMachine(['Nehalem'], names), { vm1: 'Nehalem', vm2: 'Nehalem' });
  assert.deepEqual(byMachine(['max', 'vm2=Nehalem'], names), { vm1: 'max', vm2: 'Nehalem' });
  assert.throws(() => byMachine(['vm3=max'], names), /no virtual machine 'vm3'/);
});
