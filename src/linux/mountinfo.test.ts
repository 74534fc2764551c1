import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMounts } from './mountinfo.ts';

test('mounts, with and without optional fields, and with blanks in their names', () => {
  const text = `40 31 0:37 / /sys/fs rw,relatime - cgroup cgroup rw
42 27 254:0 /sub /mnt/a\\040b\\134 rw shared:1 master:2 - ext4 /dev/vda rw\n`;
  assert.deepEqual(parseMounts(text), [
    { id: 40, device: '0:37', mountPoint: '/sys/fs', type: 'cgroup' },
    { id: 42, device: '254:0', mountPoint: '/mnt/a b\\', type: 'ext4' },
  ]);
});
