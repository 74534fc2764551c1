import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupNamed, parseCgroupTrees } from './cgroup.ts';

const DEBIAN = '29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate';
const HYBRID = [
  '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
  '32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu',
  '37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer',
  '39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids',
  '40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd',
  '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
  '42 31 0:38 / /mnt/again rw,relatime - cgroup2 cgroup2 rw',
].join('\n');

test('a machine with version 2 alone has one tree, which freezes too', () => {
  const trees = parseCgroupTrees(DEBIAN);
  assert.deepEqual(trees, [{ version: 2, controllers: [], mountPoint: '/sys/fs/cgroup' }]);
  assert.deepEqual(cgroupNamed('comicran-1', trees), {
    paths: ['/sys/fs/cgroup/comicran/comicran-1'],
    freezer: { version: 2, path: '/sys/fs/cgroup/comicran/comicran-1' },
  });
});

test('a hybrid has the trees of what sandboxes have limits of beside version 2, each once', () => {
  const trees = parseCgroupTrees(HYBRID);
  assert.deepEqual(
    trees.map(({ mountPoint }) => mountPoint),
    ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup/freezer', '/sys/fs/cgroup/pids', '/sys/fs/cgroup/unified'],
  );
  assert.deepEqual(cgroupNamed('x', trees)?.freezer, { version: 1, path: '/sys/fs/cgroup/freezer/x' });
});

test('no tree, no group', () => {
  assert.equal(cgroupNamed('x', parseCgroupTrees('22 1 8:1 / / rw - ext4 /dev/sda1 rw')), undefined);
});
