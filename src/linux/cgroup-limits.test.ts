import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitWrites, treesFor } from './cgroup-limits.ts';

const written = (version: 1 | 2, name: Parameters<typeof limitWrites>[1], value: number): string[] =>
  limitWrites(version, name, value, '254:0').map(({ file, text }) => `${file} ${text}`);

test('each limit in the words of both versions', () => {
  assert.deepEqual(written(2, 'memory', 100), ['memory.max 100', 'memory.swap.max 0']);
  assert.deepEqual(written(1, 'memory', 100), ['memory.limit_in_bytes 100', 'memory.memsw.limit_in_bytes 100']);
  assert.deepEqual([written(2, 'pids', 5), written(1, 'pids', 5)], [['pids.max 5'], ['pids.max 5']]);
  assert.deepEqual([written(2, 'cpuWeight', 50), written(1, 'cpuWeight', 50)], [['cpu.weight 50'], ['cpu.shares 512']]);
  assert.deepEqual(written(1, 'cpuWeight', 1), ['cpu.shares 10']);
  assert.deepEqual(written(2, 'cpuPercent', 150), ['cpu.max 150000 100000']);
  assert.deepEqual(written(1, 'cpuPercent', 150), ['cpu.cfs_period_us 100000', 'cpu.cfs_quota_us 150000']);
  assert.deepEqual(written(2, 'ioReadBytes', 7), ['io.max 254:0 rbps=7']);
  assert.deepEqual(written(1, 'ioWriteBytes', 7), ['blkio.throttle.write_bps_device 254:0 7']);
});

test('a group is made only in the trees that its limits need', () => {
  const v1 = (name: string) => ({ version: 1 as const, controllers: [name], mountPoint: `/${name}` });
  const trees = [
    ...['freezer', 'pids', 'memory', 'cpu', 'blkio'].map(v1),
    { version: 2 as const, controllers: [], mountPoint: '/2' },
  ];
  const chosen = (limits: Parameters<typeof treesFor>[1]) =>
    treesFor(trees, limits).map(({ mountPoint }) => mountPoint);
  assert.deepEqual(chosen({ memory: 1, pids: 1 }), ['/freezer', '/pids', '/memory', '/2']);
  assert.deepEqual(chosen({ cpuPercent: 1, ioReadBytes: 1 }), ['/freezer', '/cpu', '/blkio', '/2']);
});
