import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMaps } from '../linux/procfs.ts';
import { isSameSpace } from './same-space.ts';

const LIBRARY = '7f0000000000-7f0000004000 r-xp 00001000 08:01 77 /usr/lib/libc.so';
const HEAP = '10000-20000 rw-p 00000000 00:00 0 [heap]';
const AGENT = { base: 0x50000n, size: 0x10000n };
const OWN = '50000-60000 rwxp 00000000 00:00 0 ';

const same = (first: readonly string[], second: readonly string[]): boolean =>
  isSameSpace(parseMaps(first.join('\n')), parseMaps(second.join('\n')), AGENT);

test('the same areas, whole, in pieces, and grown together with the agent', () => {
  assert.ok(same([HEAP, LIBRARY], [HEAP, OWN, LIBRARY]));
  assert.ok(
    same(
      ['30000-40000 rw-p 00000000 00:00 0 ', LIBRARY],
      ['30000-38000 rw-p 00000000 00:00 0 ', '38000-40000 rw-p 00000000 00:00 0 ', OWN, LIBRARY],
    ),
  );
  assert.ok(same(['60000-61000 rwxp 00000000 00:00 0 '], ['50000-61000 rwxp 00000000 00:00 0 ']));
  const halves = [
    '7f0000000000-7f0000002000 r-xp 00001000 08:01 77 /usr/lib/libc.so',
    '7f0000002000-7f0000004000 r-xp 00003000 08:01 77 /usr/lib/libc.so',
  ];
  assert.ok(same([LIBRARY], [OWN, ...halves]));
});

test('an area more, less, longer, of another protection, file or part of it', () => {
  assert.ok(!same([HEAP], [HEAP, OWN, LIBRARY]));
  assert.ok(!same([HEAP, LIBRARY], [HEAP, OWN]));
  assert.ok(!same([HEAP], [HEAP]));
  assert.ok(!same([HEAP], ['10000-21000 rw-p 00000000 00:00 0 [heap]', OWN]));
  assert.ok(!same([HEAP], ['10000-20000 r--p 00000000 00:00 0 [heap]', OWN]));
  assert.ok(!same([LIBRARY], [OWN, LIBRARY.replace('77', '78')]));
  assert.ok(!same([LIBRARY], [OWN, LIBRARY.replace('00001000', '00002000')]));
});
