import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cpuMask, parseCpuMask } from './receive-cpu.ts';

test('the mask of a CPU is read as that CPU', () => {
  fc.assert(fc.property(fc.nat(1000), (cpu) => assert.deepEqual(parseCpuMask(cpuMask(cpu)), [cpu])));
  assert.deepEqual(parseCpuMask('0\n'), []);
  assert.deepEqual(parseCpuMask('3\n'), [0, 1]);
  assert.deepEqual(parseCpuMask('00000001,80000000\n'), [31, 32]);
});
