/** Which memory of an image may come after the process runs, and which pages must be there before. Pure. */
import { AREA, type MemoryArea, type MemoryImage, type ProcessImage, type ThreadImage } from '../image/types.ts';
import { type RegisterName, Registers } from '../linux/registers.ts';
import type { PageRange } from './page-writer.ts';

const PAGE = 4096n;

/** Page-aligned, `end` exclusive. */
export type Span = { readonly start: bigint; readonly end: bigint };

/**
 * Of memory that userfaultfd takes or that may be missing: not of files (it refuses private ones); not what grows by
 * itself, which would leave the registered range; not what mlock would have to wait for; not what a child finds empty
 * (MADV_WIPEONFORK), whose pages would be missing there and must not come.
 */
const NEVER_LAZY = AREA.SHARED | AREA.GROWS_DOWN | AREA.LOCKED | AREA.WIPE_ON_FORK;

export function isLazy({ file, flags }: MemoryArea): boolean {
  return file === null && (flags & NEVER_LAZY) === 0;
}

/** The areas whose pages may come later: ascending, those that touch as one. */
export function lazySpans({ areas }: Pick<MemoryImage, 'areas'>): Span[] {
  const spans: Span[] = [];
  for (const area of areas) {
    if (!isLazy(area)) continue;
    const last = spans.at(-1);
    if (last?.end === area.start) spans[spans.length - 1] = { start: last.start, end: area.end };
    else spans.push({ start: area.start, end: area.end });
  }
  return spans;
}

export type SplitPages = {
  /** To be written before the process is finished. */
  readonly eager: readonly PageRange[];
  /** Those that may come later. Both ascending, not overlapping. */
  readonly lazy: readonly PageRange[];
};

/** @param pages of the image: ascending, not overlapping. */
export function splitPages(image: ProcessImage, pages: readonly PageRange[]): SplitPages {
  const eager: PageRange[] = [];
  const lazy: PageRange[] = [];
  const spans = subtract(lazySpans(image.memory), needed(image.threads));
  let index = 0;
  for (const { start, length } of pages) {
    const end = start + BigInt(length);
    let at = start;
    while (at < end) {
      while (index < spans.length && spans[index]!.end <= at) index++;
      const span = spans[index];
      const isIn = span !== undefined && span.start <= at;
      const limit = span === undefined ? end : isIn ? span.end : span.start;
      const to = limit < end ? limit : end;
      (isIn ? lazy : eager).push({ start: at, length: Number(to - at) });
      at = to;
    }
  }
  return { eager, lazy };
}

/** Registers that point at what a thread touches with its first instructions. */
const POINTERS: readonly RegisterName[] = ['rsp', 'rbp', 'rip', 'fs_base'];

/**
 * Pages that threads touch at once, or that the kernel touches for them when they start: the restartable sequences are
 * written at the first return to the program. Ascending, not overlapping.
 */
function needed(threads: readonly ThreadImage[]): Span[] {
  const pages = new Set<bigint>();
  const add = (address: bigint, bytes = 1n): void => {
    for (let page = address & ~(PAGE - 1n); page < address + bytes; page += PAGE) pages.add(page);
  };
  for (const { registers, rseq, robustList, clearTidAddress } of threads) {
    const values = new Registers(Buffer.from(registers));
    for (const name of POINTERS) add(values.get(name));
    if (rseq.address !== 0n) add(rseq.address, BigInt(rseq.size));
    if (robustList.head !== 0n) add(robustList.head, robustList.length);
    if (clearTidAddress !== 0n) add(clearTidAddress, 4n);
  }
  return Array.from(pages)
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((start) => ({ start, end: start + PAGE }));
}

/** What of `spans` is not in `holes`; both ascending, not overlapping. */
function subtract(spans: readonly Span[], holes: readonly Span[]): Span[] {
  const left: Span[] = [];
  let index = 0;
  for (const { start, end } of spans) {
    let at = start;
    while (index < holes.length && holes[index]!.end <= start) index++;
    for (let hole = index; hole < holes.length && holes[hole]!.start < end; hole++) {
      if (holes[hole]!.start > at) left.push({ start: at, end: holes[hole]!.start });
      if (holes[hole]!.end > at) at = holes[hole]!.end;
    }
    if (at < end) left.push({ start: at, end });
  }
  return left;
}
