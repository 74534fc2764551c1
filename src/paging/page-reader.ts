/** Where a page server has the pages from. */
import { ProcessMemory } from '../linux/memory.ts';
import { addressOfPage, PAGE_BYTES, type PageRun } from './page-range.ts';

export interface PageReader {
  /**
   * Fills `into` with the pages of `runs`, one behind another.
   * @throws KernelError, ComicranError process.gone
   */
  read(runs: readonly PageRun[], into: Uint8Array): void;
  close(): void;
}

/** A process that does not run: stopped, or the clone of a snapshot. Reading it needs no tracing. */
export class ProcessPages implements PageReader {
  readonly #memory: ProcessMemory;

  constructor(pid: number) {
    this.#memory = new ProcessMemory(pid);
  }

  read(runs: readonly PageRun[], into: Uint8Array): void {
    const ranges = runs.map(({ page, count }) => ({ start: addressOfPage(page), length: count * PAGE_BYTES }));
    this.#memory.readRanges(ranges, into);
  }

  close(): void {
    this.#memory.close();
  }
}
