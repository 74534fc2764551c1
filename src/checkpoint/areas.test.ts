import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AREA, type MemoryArea } from '../image/types.ts';
import { parseMaps, parseSmaps } from '../linux/procfs.ts';
import { describeArea } from './areas.ts';

const entry = (header: string, flags: string, key = ''): ReturnType<typeof describeArea> =>
  describeArea(parseSmaps(`${header}\nSize: 4 kB\n${key}VmFlags: ${flags}\n`)[0]!, () => 5);

test('areas that are carried', () => {
  const heap = entry('1ab1a000-1ac40000 rw-p 00000000 00:00 0                  [heap]', 'rd wr mr mw me ac sd');
  assert.deepEqual(heap, {
    start: 0x1ab1a000n,
    end: 0x1ac40000n,
    protection: 3,
    flags: 0,
    file: null,
    fileOffset: 0n,
    name: '',
  });
  const library = entry('7f0000000000-7f0000001000 r--p 00033000 fe:00 77     /usr/lib/libc.so.6', 'rd mr mw me ac');
  assert.deepEqual(library, {
    start: 0x7f0000000000n,
    end: 0x7f0000001000n,
    protection: 1,
    flags: AREA.ACCOUNTED,
    file: 5,
    fileOffset: 0x33000n,
    name: '',
  });
  const flags = (text: string): number => (entry('1000-2000 rw-p 0 00:00 0', text) as MemoryArea).flags;
  assert.equal(flags('rd wr mr mw me gd ac'), AREA.GROWS_DOWN);
  assert.equal(
    flags('rd wr mr mw me dc wf dd hg'),
    AREA.DONT_FORK | AREA.WIPE_ON_FORK | AREA.DONT_DUMP | AREA.HUGE_PAGE,
  );
  assert.equal(
    flags('rd wr mr mw me nr nh mg sr lo'),
    AREA.NO_RESERVE | AREA.NO_HUGE_PAGE | AREA.MERGEABLE | AREA.SEQUENTIAL | AREA.LOCKED,
  );
  assert.equal((entry('1000-2000 rw-p 0 00:00 0   [anon:v8 heap]', 'rd wr') as MemoryArea).name, 'v8 heap');
  const cache = entry('1000-2000 r--s 0 fe:00 9   /usr/lib/gconv-modules.cache', 'rd mr me ms');
  assert.equal((cache as MemoryArea).flags, AREA.SHARED);
});

test('areas that are refused, by name and address', () => {
  const refused: Readonly<Record<string, readonly [header: string, flags: string, key?: string]>> = {
    'a hugetlb mapping at 0x1000 (/anon_hugepage (deleted))': [
      '1000-2000 rw-p 0 00:0f 8 /anon_hugepage (deleted)',
      'rd wr ht',
    ],
    'a mapping of device memory at 0x1000 (/dev/mem)': ['1000-2000 rw-s 0 00:06 8 /dev/mem', 'rd wr sh pf'],
    'memory registered with userfaultfd at 0x1000': ['1000-2000 rw-p 0 00:00 0', 'rd wr um'],
    'sealed memory (mseal) at 0x1000': ['1000-2000 r-xp 0 00:00 0', 'rd ex sl'],
    'memory with protection key 3 at 0x1000': ['1000-2000 rw-p 0 00:00 0', 'rd wr', 'ProtectionKey:         3\n'],
    'System V shared memory at 0x1000 (/SYSV00000000 (deleted))': [
      '1000-2000 rw-s 0 00:01 0032 /SYSV00000000 (deleted)',
      'rd wr sh',
    ],
    'shared anonymous memory at 0x1000 (/dev/zero (deleted))': [
      '1000-2000 rw-s 0 00:01 33 /dev/zero (deleted)',
      'rd wr sh mw',
    ],
    'a mapping of a deleted file at 0x1000 (/lib/x.so (deleted))': [
      '1000-2000 r--p 0 fe:00 33 /lib/x.so (deleted)',
      'rd mw',
    ],
    'a mapping of a memory file at 0x1000 (/memfd:x (deleted))': [
      '1000-2000 rw-s 0 00:01 33 /memfd:x (deleted)',
      'rd wr sh mw',
    ],
    'a shared writable mapping of a file at 0x1000 (/srv/data)': ['1000-2000 r--s 0 fe:00 33 /srv/data', 'rd mr mw ms'],
    'a mapping of something that is no file at 0x1000 (anon_inode:[perf_event])': [
      '1000-2000 rw-s 0 00:0e 33 anon_inode:[perf_event]',
      'rd wr',
    ],
  };
  for (const [message, [header, flags, key]] of Object.entries(refused))
    assert.deepEqual(entry(header, flags, key), { refused: message });
});

test('names in maps may hold anything', () => {
  const [area] = parseMaps(
    '1000-2000 r--p 00000000 fe:00 33    /srv/a  b\\012c ü\n'.replace('ü', Buffer.from('ü').toString('latin1')),
  );
  assert.equal(area!.name, '/srv/a  b\nc ü');
});
