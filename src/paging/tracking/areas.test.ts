import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMaps } from '../../linux/procfs.ts';
import { trackedAreas } from './areas.ts';

test('an area that grows while the list is written is told once, and what is not its own stays out', () => {
  const maps = `
1000-3000 rw-p 00000000 00:00 0
3000-4000 r--p 00000000 08:01 99 /lib/x
1000-6000 rw-p 00000000 00:00 0
5000-6000 rw-p 00000000 00:00 0
7000-8000 rw-s 00000000 00:01 5 /dev/zero
7000-9000 rw-p 00000000 00:00 0
`.trimStart();
  assert.deepEqual(trackedAreas(parseMaps(maps)), [
    { start: 0x1000, end: 0x3000, isFile: false },
    { start: 0x3000, end: 0x4000, isFile: true },
    { start: 0x4000, end: 0x6000, isFile: false },
    { start: 0x8000, end: 0x9000, isFile: false },
  ]);
});
