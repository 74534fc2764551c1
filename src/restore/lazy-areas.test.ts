import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AREA, type MemoryArea, type ProcessImage, type ThreadImage } from '../image/types.ts';
import { Registers } from '../linux/registers.ts';
import { lazySpans, splitPages } from './lazy-areas.ts';

const PAGE = 0x1000n;

function area(start: bigint, end: bigint, flags = 0, file: number | null = null): MemoryArea {
  return { start: start * PAGE, end: end * PAGE, protection: 3, flags, file, fileOffset: 0n, name: '' };
}

const range = (start: bigint, pages: number): { start: bigint; length: number } => ({
  start: start * PAGE,
  length: pages * 4096,
});

const areas = [
  area(0x10n, 0x18n),
  area(0x18n, 0x20n, AREA.NO_RESERVE),
  area(0x20n, 0x28n, 0, 0),
  area(0x30n, 0x38n, AREA.LOCKED),
  area(0x40n, 0x48n, AREA.WIPE_ON_FORK),
  area(0x50n, 0x58n, AREA.GROWS_DOWN),
  area(0x60n, 0x70n, AREA.DONT_FORK),
];

test('private memory without a file may come later, but what grows, is locked or wiped', () => {
  assert.deepEqual(lazySpans({ areas }), [
    { start: 0x10n * PAGE, end: 0x20n * PAGE },
    { start: 0x60n * PAGE, end: 0x70n * PAGE },
  ]);
});

test('pages that threads need at once come before, all others of lazy memory later', () => {
  const registers = new Registers();
  registers.set('rsp', 0x11ff8n).set('rip', 0x21000n).set('fs_base', 0x62000n).set('rbp', 0n);
  const thread = {
    registers: registers.bytes,
    // Over the border of two pages.
    rseq: { address: 0x64ff0n, size: 32, signature: 0, flags: 0 },
    robustList: { head: 0x68000n, length: 24n },
    clearTidAddress: 0x11000n,
  } as unknown as ThreadImage;
  const image = { memory: { areas }, threads: [thread] } as unknown as ProcessImage;
  const split = splitPages(image, [range(0x10n, 24), range(0x30n, 1), range(0x52n, 2), range(0x60n, 16)]);
  assert.deepEqual(split.lazy, [
    range(0x10n, 1),
    range(0x12n, 14),
    range(0x60n, 2),
    range(0x63n, 1),
    range(0x66n, 2),
    range(0x69n, 7),
  ]);
  assert.deepEqual(split.eager, [
    range(0x11n, 1),
    range(0x20n, 8),
    range(0x30n, 1),
    range(0x52n, 2),
    range(0x62n, 1),
    range(0x64n, 2),
    range(0x68n, 1),
  ]);
  assert.deepEqual(splitPages(image, []), { eager: [], lazy: [] });
});
