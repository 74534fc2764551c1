/** Which pages of a process have contents of their own, from /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
import { closeSync, openSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const PAGE = 4096n;

/** PAGEMAP_SCAN and its categories, from linux/fs.h. */
const PAGEMAP_SCAN = 0xc0606610;
const PAGE_IS = { FILE: 1 << 2, PRESENT: 1 << 3, SWAPPED: 1 << 4, PFNZERO: 1 << 5, GUARD: 1 << 8 } as const;
const SCAN_BYTES = 96;
const REGION_BYTES = 24;
const REGIONS = 4096;

/** Bits of a 64-bit entry of pagemap, and of /proc/kpageflags. */
const ENTRY_PRESENT = 1n << 63n;
const ENTRY_SWAPPED = 1n << 62n;
const ENTRY_FILE = 1n << 61n;
const ENTRY_PFN = (1n << 55n) - 1n;
const FLAG_ZERO_PAGE = 1n << 24n;

/** Page-aligned, `end` exclusive. */
export type PageSpan = { readonly start: bigint; readonly end: bigint };

/** Keeps its buffers, to be fast where a process is stopped. */
export class PageFinder {
  readonly #pid: number;
  readonly #descriptor: number;
  readonly #useScan: boolean;
  readonly #argument = Buffer.alloc(SCAN_BYTES);
  readonly #regions = Buffer.alloc(REGION_BYTES * REGIONS);
  #zeroPage: bigint | null = null;

  /** @param useScan whether the kernel has PAGEMAP_SCAN (6.7). */
  constructor(pid: number, useScan: boolean) {
    this.#pid = pid;
    this.#useScan = useScan;
    this.#descriptor = openSync(`/proc/${pid}/pagemap`, 'r');
  }

  /**
   * The pages in a range that are neither untouched, nor the zero page, nor those of a file: memory that only the process
   * has. Adjacent ones come as one span, ascending.
   */
  ownPages(start: bigint, end: bigint): PageSpan[] {
    const spans: PageSpan[] = [];
    if (this.#useScan) this.#scan(start, end, spans);
    else this.#walk(start, end, spans);
    return spans;
  }

  #scan(start: bigint, end: bigint, spans: PageSpan[]): void {
    const argument = this.#argument;
    const excluded = BigInt(PAGE_IS.PFNZERO | PAGE_IS.FILE | PAGE_IS.GUARD);
    const wanted = BigInt(PAGE_IS.PRESENT | PAGE_IS.SWAPPED);
    for (let at = start; at < end; ) {
      const words = [BigInt(SCAN_BYTES), 0n, at, end, 0n, addressOf(this.#regions), BigInt(REGIONS), 0n];
      // category_inverted, category_mask, category_anyof_mask, return_mask
      for (const [index, word] of [...words, excluded, excluded, wanted, wanted].entries())
        argument.writeBigUInt64LE(word, index * 8);
      const count = trySyscall(SYS.ioctl, this.#descriptor, PAGEMAP_SCAN, argument);
      if (count < 0) throw new KernelError(`PAGEMAP_SCAN of process ${this.#pid}`, -count);
      for (let index = 0; index < count; index++) {
        const from = this.#regions.readBigUInt64LE(index * REGION_BYTES);
        append(spans, from, this.#regions.readBigUInt64LE(index * REGION_BYTES + 8));
      }
      if (count < REGIONS) return;
      // What the kernel says of where it ended may lie before what it has reported (seen in 6.18 with over 512 regions).
      const last = this.#regions.readBigUInt64LE((REGIONS - 1) * REGION_BYTES + 8);
      const walked = argument.readBigUInt64LE(32);
      // biome-ignore lint/complexity/useMathMinMax: they are bigints
      at = walked > last ? walked : last;
    }
  }

  /** For kernels without PAGEMAP_SCAN: eight bytes a page, and the zero page told by its frame number. */
  #walk(start: bigint, end: bigint, spans: PageSpan[]): void {
    const perRead = BigInt(this.#regions.length / 8);
    for (let at = start; at < end; at += perRead * PAGE) {
      const pages = (end - at) / PAGE < perRead ? Number((end - at) / PAGE) : Number(perRead);
      const bytes = this.#regions.subarray(0, pages * 8);
      const count = trySyscall(SYS.pread64, this.#descriptor, bytes, bytes.length, (at / PAGE) * 8n);
      if (count !== bytes.length) throw new KernelError(`read pagemap of process ${this.#pid}`, Math.max(0, -count));
      for (let index = 0; index < pages; index++) {
        // Most of a reservation is untouched: no bigint for those.
        if (bytes.readUInt32LE(index * 8 + 4) >>> 30 === 0) continue;
        const entry = bytes.readBigUInt64LE(index * 8);
        if ((entry & ENTRY_FILE) !== 0n) continue;
        if ((entry & ENTRY_SWAPPED) === 0n && this.#isZeroPage(entry & ENTRY_PFN)) continue;
        if ((entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) === 0n) continue;
        const page = at + BigInt(index) * PAGE;
        append(spans, page, page + PAGE);
      }
    }
  }

  /** Whether a frame is the shared zero page. The huge zero page is taken for contents: right, only slower. */
  #isZeroPage(frame: bigint): boolean {
    if (frame === this.#zeroPage) return true;
    if (this.#zeroPage !== null || frame === 0n) return false;
    const flags = Buffer.alloc(8);
    const file = openSync('/proc/kpageflags', 'r');
    try {
      if (trySyscall(SYS.pread64, file, flags, 8, frame * 8n) !== 8) return false;
    } finally {
      closeSync(file);
    }
    if ((flags.readBigUInt64LE(0) & FLAG_ZERO_PAGE) === 0n) return false;
    this.#zeroPage = frame;
    return true;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function append(spans: PageSpan[], start: bigint, end: bigint): void {
  const last = spans.at(-1);
  if (last !== undefined && last.end === start) spans[spans.length - 1] = { start: last.start, end };
  else spans.push({ start, end });
}

/** Whether the kernel has PAGEMAP_SCAN, tried on this process. */
export function hasPagemapScan(): boolean {
  const finder = new PageFinder(process.pid, true);
  try {
    finder.ownPages(0x10000n, 0x11000n);
    return true;
  } catch {
    return false;
  } finally {
    finder.close();
  }
}
