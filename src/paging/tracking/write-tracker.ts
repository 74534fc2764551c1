/**
 * What of a running process's memory has been written since the last look.
 *
 *     openTracker ──► next, read ──► next, read ──► … (it runs) ──► last (it stands still) ──► close
 *
 * Whoever applies what `next` and `last` say, in their order, to a copy, has the memory of the process as it stood at `last`:
 * pages are overwritten with what was read of them, and what is gone is made to be as if it had never been written.
 */
import { ComicranError } from '../../base/errors.ts';
import { ENOENT, ESRCH, KernelError } from '../../linux/errno.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import { type MemoryRange, ProcessMemory } from '../../linux/memory.ts';
import { PageRuns } from '../../linux/page-runs.ts';
import { VectorReader } from '../../linux/vector-read.ts';
import type { ScannedArea } from '../../linux/write-scan.ts';
import { listAreas } from './areas.ts';
import { type CopiedPages, LastRound } from './last-round.ts';
import { SoftDirtyLog } from './soft-dirty-log.ts';
import { UserfaultfdLog } from './userfaultfd-log.ts';
import type { InStop, WriteLog } from './write-log.ts';

/** All ranges are of whole pages, ascending, not overlapping. */
export type Round = {
  /** Pages to be read. One that goes away meanwhile reads as zeros, and will be told as gone. */
  readonly written: readonly MemoryRange[];
  readonly writtenBytes: number;
  /** Pages that were told before and have no contents of their own any more. */
  readonly gone: readonly MemoryRange[];
};

export type TrackerOptions = {
  readonly facts: KernelFacts;
  readonly inStop: InStop;
};

/**
 * Begins to track the writes of a process. The first round tells all its pages.
 *
 * @throws ComicranError needs.kernel where there is no way to; process.unsupported: it is tracked already; process.gone.
 */
export function openTracker(pid: number, { facts, inStop }: TrackerOptions): WriteTracker {
  return new WriteTracker(pid, openLog(pid, facts, inStop));
}

function openLog(pid: number, facts: KernelFacts, inStop: InStop): WriteLog {
  switch (facts.writeTracking) {
    case 'userfaultfd':
      return UserfaultfdLog.open(pid, inStop);
    case 'soft-dirty':
      return SoftDirtyLog.open(pid, inStop);
    case 'none':
      throw new ComicranError('needs.kernel', 'this kernel does not tell which pages of a process were written', {
        hint: 'It takes Linux 6.7, or an older one with CONFIG_MEM_SOFT_DIRTY. Use another mode of migration.',
      });
  }
}

/** Room for what comes to be written while the process is about to be stopped: 2,048 pages. */
const SPARE_BYTES = 8 << 20;
/** The more is copied before that, the longer that takes: room for this part of it. */
const SPARE_SHARE = 8;

const NOTHING: CopiedPages = { runs: new PageRuns(), bytes: Buffer.alloc(0) };

/** As long as it is open and the process lives, writes cost the process a little; closed or dead, it has left nothing there. */
export class WriteTracker {
  readonly pid: number;
  readonly #log: WriteLog;
  readonly #memory: ProcessMemory;
  readonly #reader: VectorReader;
  /** The pages that a copy made by the rounds so far has. */
  #told = new PageRuns();
  /** Pages that were copied for a last round which has not been made yet. */
  #late = NOTHING;
  #room: Uint8Array = Buffer.alloc(0);

  /** Use {@link openTracker}. */
  constructor(pid: number, log: WriteLog) {
    this.pid = pid;
    this.#log = log;
    this.#memory = new ProcessMemory(pid);
    this.#reader = new VectorReader(this.#memory);
  }

  /** The process runs, or stands still. @throws ComicranError process.gone */
  next(): Round {
    const { own, written: noted } = this.#ofLiving(() => this.#log.next());
    const gone = this.#told.minus(own);
    // Whatever was not noted, for any reason, but was never told either; and what was taken for a stop that did not come.
    const written = noted.union(own.minus(this.#told)).union(common(this.#late.runs, own));
    this.#late = NOTHING;
    this.#told = own.union(written);
    this.#makeRoom(SPARE_BYTES);
    return { written: written.toRanges(), writtenBytes: written.bytes, gone: gone.toRanges() };
  }

  /** Fills `into` with the pages of `ranges`, one behind another, as they are now. @throws ComicranError process.gone */
  read(ranges: readonly MemoryRange[], into: Uint8Array): void {
    const runs = new PageRuns();
    for (const { start, length } of ranges) runs.append(Number(start), Number(start) + length);
    this.#ofLiving(() => this.#reader.read(runs, into));
  }

  /**
   * Gets ready for the last round, which is to follow at once: what has been written since the last `next` is copied now, so
   * that only what is written from now on is left for the stop. However much it is: it is copied here without a network, and
   * would otherwise be copied in the stop, into as much memory.
   */
  prepare(): void {
    this.#ofLiving(() => {
      const { written } = this.#log.last(listAreas(this.pid));
      const { stopsForNext } = this.#log;
      this.#makeRoom(Math.max(SPARE_BYTES, stopsForNext ? written.bytes : written.bytes / SPARE_SHARE));
      if (!stopsForNext) this.#copyLate();
    });
  }

  #copyLate(): void {
    const { own, written } = this.#log.next(true);
    const runs = written.union(own.minus(this.#told)).union(common(this.#late.runs, own));
    const bytes = touched(runs.bytes);
    this.#late = { runs, bytes };
    this.#reader.read(runs, bytes);
  }

  #makeRoom(bytes: number): void {
    if (this.#room.length < bytes) this.#room = touched(bytes);
  }

  /**
   * The last round, of a process that stands still, with its pages read. Should it run on instead, more rounds may follow,
   * which tell what was written since, and some of these pages again.
   *
   * @param areas its private areas; absent: they are found out.
   */
  last(areas: readonly ScannedArea[] = listAreas(this.pid)): LastRound {
    const told = this.#told;
    const late = this.#late;
    const { own, written: noted } = this.#log.last(areas);
    const runs = noted.union(own.minus(told.union(late.runs)));
    this.#makeRoom(runs.bytes);
    const bytes = this.#room.subarray(0, runs.bytes);
    this.#room = Buffer.alloc(0);
    const missing = this.#ofLiving(() => this.#reader.read(runs, bytes));
    if (missing.count > 0)
      throw new ComicranError('process.trace', `${missing.bytes} bytes of process ${this.pid} cannot be read`);
    this.#told = own;
    this.#late = NOTHING;
    return new LastRound({ runs, bytes }, late, { own, told });
  }

  #ofLiving<T>(run: () => T): T {
    try {
      return run();
    } catch (cause) {
      if (cause instanceof KernelError && (cause.errno === ESRCH || cause.errno === ENOENT))
        throw new ComicranError('process.gone', `process ${this.pid} has ended`, { cause });
      throw cause;
    }
  }

  close(): void {
    this.#log.close();
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function common(a: PageRuns, b: PageRuns): PageRuns {
  return a.count === 0 ? a : a.minus(a.minus(b));
}

/** Memory that is really there. */
function touched(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes).fill(1);
}
