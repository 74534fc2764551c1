import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { cpuMask, parseCpuMask, pickCpu } from './receive-cpu.ts';

test('the mask of a CPU is read as that CPU', () => {
  fc.assert(fc.property(fc.nat(1000), (cpu) => assert.deepEqual(parseCpuMask(cpuMask(cpu)), [cpu])));
  assert.deepEqual(parseCpuMask('0\n'), []);
  assert.deepEqual(parseCpuMask('3\n'), [0, 1]);
  assert.deepEqual(parseCpuMask('00000001,80000000\n'), [31, 32]);
});

test('a CPU is picked of those that the thread may run on, each by some seed', () => {
  const someCpus = fc.uniqueArray(fc.nat(200), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(someCpus, fc.nat(255), (cpus, seed) => {
      const affinity = Buffer.alloc(32);
      for (const cpu of cpus) affinity[cpu >> 3]! |= 1 << (cpu & 7);
      assert.ok(cpus.includes(pickCpu(affinity, seed)));
      const picked = cpus.map((_, at) => pickCpu(affinity, seed + at));
      assert.deepEqual(new Set(picked), new Set(cpus));
    }),
  );
});
