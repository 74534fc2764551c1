/**
 * Which pages of a process were written, where userfaultfd keeps note of it (UFFD_FEATURE_WP_ASYNC): PAGEMAP_SCAN of
 * linux/fs.h, Documentation/admin-guide/mm/pagemap.rst.
 *
 * A page counts as the process's *own* when it is neither untouched, nor the zero page, nor one of a file.
 */
import { closeSync, openSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { PageRuns } from './page-runs.ts';
import { SYS } from './syscall-numbers.ts';

const PAGEMAP_SCAN = 0xc0606610;
/** PAGE_IS_*. */
const IS = { WPALLOWED: 1, WRITTEN: 2, FILE: 4, PRESENT: 8, SWAPPED: 16, PFNZERO: 32, GUARD: 256 } as const;
/** PM_SCAN_WP_MATCHING: what matches is write-protected in the same step. */
const WP_MATCHING = 1;

/** struct pm_scan_arg: twelve words, of which these are set for each call. */
const ARGUMENT_BYTES = 96;
const AT = { FLAGS: 8, START: 16, END: 24, WALK_END: 32, INVERTED: 64, MASK: 72, ANY_OF: 80, RETURN: 88 } as const;
const REGION_BYTES = 24;
const REGIONS = 8192;
/**
 * How much is looked at, or taken, at once: some 0.5 ms, as the process can neither map nor unmap memory meanwhile. An area that
 * is so large that this would be many parts is mostly empty; it has so many.
 */
const LOOK = { bytes: 256 << 20, mostParts: 64 } as const;
const TAKE = { bytes: 16 << 20, mostParts: 256 } as const;
/** A huge page is on one side of a cut: it would be split. */
const HUGE_PAGE_BYTES = 2 << 20;

/** Page-aligned, `end` exclusive. */
export type ScannedArea = {
  readonly start: number;
  readonly end: number;
  /** A mapping of a file: whether a page is the file's can only be told by looking at it, which takes ten times as long. */
  readonly isFile: boolean;
};

/** Which pages are named: those that have, after `inverted` ones are turned round, all of `mask` and one of `anyOf`. */
type Criteria = {
  readonly inverted: number;
  readonly mask: number;
  readonly anyOf: number;
  /** Of their categories, those that are told. */
  readonly returned: number;
  readonly flags?: number;
};

/** What was found; runs are appended. */
export class OwnPages {
  readonly own = new PageRuns();
  /** Of these, the ones that are not known to be as they were when they were taken: written, or one of the following. */
  readonly changed = new PageRuns();
  /** In areas that are not registered. */
  readonly unarmed = new PageRuns();
  /**
   * Neither here nor in the swap, in a mapping of a file: the kernel leaves a mark where a page was thrown away, which looks
   * like one that was swapped out and not written.
   */
  readonly thrownAway = new PageRuns();
}

export class WriteScan {
  readonly #pid: number;
  readonly #descriptor: number;
  readonly #argument = Buffer.alloc(ARGUMENT_BYTES);
  readonly #regions = Buffer.alloc(REGION_BYTES * REGIONS);

  constructor(pid: number) {
    this.#pid = pid;
    this.#descriptor = openSync(`/proc/${pid}/pagemap`, 'r');
    this.#argument.writeUInt32LE(ARGUMENT_BYTES, 0);
    this.#argument.writeBigUInt64LE(addressOf(this.#regions), 40);
    this.#argument.writeUInt32LE(REGIONS, 48);
  }

  /** The own pages of an area. Of one that is being unmapped meanwhile, pages may be named that are not there any more. */
  look(area: ScannedArea, into: OwnPages): void {
    if (area.isFile) this.#lookAtFile(area, into);
    else this.#lookAtMemory(area, into);
  }

  /** By naming what is own. */
  #lookAtFile(area: ScannedArea, { own, changed, unarmed, thrownAway }: OwnPages): void {
    const excluded = IS.PFNZERO | IS.GUARD | IS.FILE;
    const criteria = { inverted: excluded, mask: excluded, anyOf: IS.PRESENT | IS.SWAPPED };
    this.#scan(area, { ...criteria, returned: IS.WPALLOWED | IS.WRITTEN | IS.PRESENT }, (start, end, categories) => {
      own.append(start, end);
      const isUnarmed = (categories & IS.WPALLOWED) === 0;
      const isThrownAway = (categories & IS.PRESENT) === 0;
      if (isUnarmed) unarmed.append(start, end);
      if (isThrownAway) thrownAway.append(start, end);
      if (isUnarmed || isThrownAway || (categories & IS.WRITTEN) !== 0) changed.append(start, end);
    });
  }

  /**
   * By naming what was written and what is not own: the kernel takes three times as long to name a page as to pass it over,
   * and most pages are neither.
   */
  #lookAtMemory(area: ScannedArea, { own, changed, unarmed }: OwnPages): void {
    const criteria = { inverted: IS.PRESENT, mask: 0, anyOf: IS.WRITTEN | IS.PRESENT | IS.PFNZERO };
    const returned = IS.WPALLOWED | IS.WRITTEN | IS.PRESENT | IS.SWAPPED | IS.PFNZERO | IS.GUARD;
    let at = area.start;
    this.#scan(area, { ...criteria, returned }, (start, end, categories) => {
      if (start > at) own.append(at, start);
      at = end;
      if ((categories & (IS.PRESENT | IS.SWAPPED)) === 0 || (categories & (IS.PFNZERO | IS.GUARD)) !== 0) return;
      own.append(start, end);
      const isUnarmed = (categories & IS.WPALLOWED) === 0;
      if (isUnarmed) unarmed.append(start, end);
      if (isUnarmed || (categories & IS.WRITTEN) !== 0) changed.append(start, end);
    });
    if (area.end > at) own.append(at, area.end);
  }

  /** The own pages of an area that were written since they were last taken by this. None of an area that is not registered. */
  take(area: ScannedArea, written: PageRuns): void {
    const inverted = IS.PFNZERO | IS.GUARD | (area.isFile ? IS.FILE : 0);
    const criteria = { inverted, mask: inverted | IS.WPALLOWED | IS.WRITTEN, anyOf: IS.PRESENT | IS.SWAPPED };
    this.#scan(area, { ...criteria, returned: IS.WRITTEN, flags: WP_MATCHING }, (start, end) =>
      written.append(start, end),
    );
  }

  /** Whether anything in a range is registered. */
  isArmed(area: ScannedArea): boolean {
    let armed = false;
    this.#scan(area, { inverted: 0, mask: IS.WPALLOWED, anyOf: 0, returned: IS.WPALLOWED }, () => {
      armed = true;
    });
    return armed;
  }

  #scan(
    area: ScannedArea,
    { inverted, mask, anyOf, returned, flags = 0 }: Criteria,
    found: (start: number, end: number, categories: number) => void,
  ): void {
    const argument = this.#argument;
    const regions = this.#regions;
    argument.writeUInt32LE(flags, AT.FLAGS);
    argument.writeUInt32LE(inverted, AT.INVERTED);
    argument.writeUInt32LE(mask, AT.MASK);
    argument.writeUInt32LE(anyOf, AT.ANY_OF);
    argument.writeUInt32LE(returned, AT.RETURN);
    const step = stepFor(area, flags === WP_MATCHING ? TAKE : LOOK);
    for (let at = area.start; at < area.end; ) {
      writeWord(argument, AT.START, at);
      const end = Math.min(area.end, (Math.floor(at / step) + 1) * step);
      writeWord(argument, AT.END, end);
      const count = trySyscall(SYS.ioctl, this.#descriptor, PAGEMAP_SCAN, argument);
      if (count < 0) throw new KernelError(`PAGEMAP_SCAN of process ${this.#pid}`, -count);
      for (let offset = 0; offset < count * REGION_BYTES; offset += REGION_BYTES)
        found(readWord(regions, offset), readWord(regions, offset + 8), regions.readUInt32LE(offset + 16));
      // What the kernel says of where it ended may lie before what it has reported (seen in 6.18 with over 512 regions).
      at =
        count < REGIONS
          ? end
          : Math.max(readWord(argument, AT.WALK_END), readWord(regions, (REGIONS - 1) * REGION_BYTES + 8));
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

function stepFor({ start, end }: ScannedArea, { bytes, mostParts }: { bytes: number; mostParts: number }): number {
  return Math.max(bytes, Math.ceil((end - start) / mostParts / HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES);
}

const HIGH = 0x1_0000_0000;

/** Words of addresses, without a bigint for each. */
function writeWord(into: Buffer, at: number, value: number): void {
  into.writeUInt32LE(value % HIGH, at);
  into.writeUInt32LE(Math.floor(value / HIGH), at + 4);
}

function readWord(from: Buffer, at: number): number {
  return from.readUInt32LE(at) + from.readUInt32LE(at + 4) * HIGH;
}
