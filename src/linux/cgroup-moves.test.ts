import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownGroup } from './cgroup-moves.ts';

const BOTH = `30 28 0:25 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
31 28 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 28 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`;
const PART = '31 28 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
const WHOLE = '32 28 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n';

test('the group of this process, by the first hierarchy that is mounted whole', () => {
  const cases: readonly (readonly [mountinfo: string, memberships: string, expected: string | undefined])[] = [
    [WHOLE, '0::/user.slice/a:b\n', '/sys/fs/cgroup/user.slice/a:b'],
    [WHOLE, '0::/\n', '/sys/fs/cgroup/'],
    [BOTH, '8:pids:/\n2:cpu,cpuacct:/y\n0::/z\n', '/sys/fs/cgroup/cpu,cpuacct/y'],
    [BOTH, '0::/\n', '/sys/fs/cgroup/unified/'],
    [WHOLE, '8:pids:/\n', undefined],
    [PART, '0::/docker/x\n', undefined],
    [WHOLE, '0::/../outside\n', undefined],
    ['', '', undefined],
  ];
  for (const [mountinfo, memberships, expected] of cases) {
    assert.equal(ownGroup(mountinfo, memberships), expected, `${memberships} ${mountinfo}`);
  }
});
