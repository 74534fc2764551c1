/**
 * What of a running process's memory has been written since the last look.
 *
 *     openTracker ──► next, read ──► next, read ──► … (it runs) ──► last (it stands still) ──► close
 *
 * Whoever applies what `next` and `last` say, in their order, to a copy, has the memory of the process as it stood at `last`:
 * pages are overwritten with what was read of them, and what is gone is made to be as if it had never been written.
 */
import { ComicranError } from '../../base/errors.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import { type MemoryRange, ProcessMemory } from '../../linux/memory.ts';
import { PageRuns } from '../../linux/page-runs.ts';
import { VectorReader } from '../../linux/vector-read.ts';
import type { ScannedArea } from '../../linux/write-scan.ts';
import { listAreas } from './areas.ts';
import { LastRound } from './last-round.ts';
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

const SPARE_BYTES = 1 << 20;

/** As long as it is open and the process lives, writes cost the process a little; closed or dead, it has left nothing there. */
export class WriteTracker {
  readonly pid: number;
  readonly #log: WriteLog;
  readonly #memory: ProcessMemory;
  readonly #reader: VectorReader;
  /** The pages that a copy made by the rounds so far has. */
  #told = new PageRuns();
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
    const { own, written: noted } = this.#log.next();
    const gone = this.#told.minus(own);
    // Whatever was not noted, for any reason, but was never told either.
    const written = noted.union(own.minus(this.#told));
    this.#told = own.union(written);
    return { written: written.toRanges(), writtenBytes: written.bytes, gone: gone.toRanges() };
  }

  read(ranges: readonly MemoryRange[], into: Uint8Array): void {
    const runs = new PageRuns();
    for (const { start, length } of ranges) runs.append(Number(start), Number(start) + length);
    this.#reader.read(runs, into);
  }

  /** Gets ready for the last round, which then is quicker if it follows at once. */
  prepare(): void {
    const { written } = this.#log.last(listAreas(this.pid));
    // What comes to be written until then is not known: as much again.
    this.#makeRoom(2 * written.bytes + SPARE_BYTES);
  }

  #makeRoom(bytes: number): void {
    if (this.#room.length < bytes) this.#room = touched(bytes);
  }

  /**
   * The last round, of a process that stands still, with its pages read. Should it run on instead, more rounds may follow,
   * which tell the same pages again.
   *
   * @param areas its private areas; absent: they are found out.
   */
  last(areas: readonly ScannedArea[] = listAreas(this.pid)): LastRound {
    const told = this.#told;
    const { own, written: noted } = this.#log.last(areas);
    const written = noted.union(own.minus(told));
    this.#makeRoom(written.bytes);
    const bytes = this.#room.subarray(0, written.bytes);
    this.#room = Buffer.alloc(0);
    const missing = this.#reader.read(written, bytes);
    if (missing.count > 0)
      throw new ComicranError('process.trace', `${missing.bytes} bytes of process ${this.pid} cannot be read`);
    this.#told = own;
    return new LastRound(written, own, told, bytes);
  }

  close(): void {
    this.#log.close();
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Memory that is really there. */
function touched(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes).fill(1);
}
