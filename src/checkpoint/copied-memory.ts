/**
 * Memory that is copied while the process runs: what a capture needs of whoever does it (paging/tracking). While the process
 * stands still only the pages are looked for, and copied, that were written since the last time.
 */
import { AREA, type MemoryArea } from '../image/types.ts';
import type { ScannedArea } from '../linux/write-scan.ts';
import type { PageRange } from './frozen.ts';

export interface CopiedMemory {
  /** Called right before the process is stopped. The list of its areas, which has been read, stays as it is. */
  prepare(): void;
  /** Called while all threads are stopped; what it gives stays valid. */
  last(areas: readonly ScannedArea[]): LastPages;
}

/** Ranges are ascending and do not overlap. */
export interface LastPages {
  /** The pages that were written since the last time, or never told. */
  readonly written: readonly PageRange[];
  /** Every page with contents of its own. A copy may have others: what is not in here is gone. */
  readonly own: readonly PageRange[];
  /** Fills `into` with pages of `written`, as they were at the stop. */
  read(ranges: readonly PageRange[], into: Uint8Array): void;
}

/** The private areas, as a tracker takes them. */
export function privateAreas(areas: readonly MemoryArea[]): ScannedArea[] {
  return areas
    .filter(({ flags }) => (flags & AREA.SHARED) === 0)
    .map(({ start, end, file }) => ({ start: Number(start), end: Number(end), isFile: file !== null }));
}
