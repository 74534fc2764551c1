/** Many small pieces of another process's memory at once, by process_vm_readv(2). */
import { EFAULT, KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import type { ProcessMemory } from './memory.ts';
import { PageRuns } from './page-runs.ts';
import { SYS } from './syscall-numbers.ts';

const PAGE_BYTES = 4096;
/** UIO_MAXIOV of linux/uio.h. */
const MAX_VECTORS = 1024;
const HIGH = 0x1_0000_0000;

/** Keeps its tables, to be fast where a process is stopped. */
export class VectorReader {
  readonly #memory: ProcessMemory;
  readonly #local = Buffer.alloc(16);
  readonly #remote = Buffer.alloc(16 * MAX_VECTORS);

  constructor(memory: ProcessMemory) {
    this.#memory = memory;
  }

  /**
   * Fills `into` with the pages of `runs`, one behind another.
   *
   * @returns the pages that are not there (any more), which are zeros in `into`. Of a process that stands still there are
   *   none. @throws KernelError ESRCH
   */
  read(runs: PageRuns, into: Uint8Array): PageRuns {
    const missing = new PageRuns();
    const base = addressOf(into);
    let done = 0;
    let index = 0;
    /** Where in the run of `index` to go on. */
    let at = runs.count > 0 ? runs.start(0) : 0;
    while (index < runs.count) {
      const count = this.#fillTable(runs, index, at);
      this.#local.writeBigUInt64LE(base + BigInt(done), 0);
      this.#local.writeBigUInt64LE(BigInt(into.length - done), 8);
      let moved = trySyscall(SYS.process_vm_readv, this.#memory.pid, this.#local, 1, this.#remote, count, 0);
      if (moved < 0 && moved !== -EFAULT)
        throw new KernelError(`process_vm_readv of process ${this.#memory.pid}`, -moved);
      if (moved <= 0) {
        moved = Math.min(PAGE_BYTES, runs.end(index) - at);
        if (!this.#readForced(at, into.subarray(done, done + moved))) missing.append(at, at + moved);
      }
      done += moved;
      for (at += moved; index < runs.count && at >= runs.end(index); ) {
        const over = at - runs.end(index);
        index++;
        if (index < runs.count) at = runs.start(index) + over;
      }
    }
    return missing;
  }

  #fillTable(runs: PageRuns, index: number, at: number): number {
    const table = this.#remote;
    const count = Math.min(runs.count - index, MAX_VECTORS);
    for (let vector = 0; vector < count; vector++) {
      const start = vector === 0 ? at : runs.start(index + vector);
      const length = runs.end(index + vector) - start;
      const offset = vector * 16;
      table.writeUInt32LE(start % HIGH, offset);
      table.writeUInt32LE(Math.floor(start / HIGH), offset + 4);
      table.writeUInt32LE(length % HIGH, offset + 8);
      table.writeUInt32LE(Math.floor(length / HIGH), offset + 12);
    }
    return count;
  }

  /** Without regard to page protections. @returns false: nothing is there. */
  #readForced(address: number, into: Uint8Array): boolean {
    try {
      this.#memory.readInto(BigInt(address), into);
      return true;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      into.fill(0);
      return false;
    }
  }
}
