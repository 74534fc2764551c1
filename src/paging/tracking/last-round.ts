/** What of a process's memory was still to be copied when it stood still, and the copy. */
import { assert } from '../../base/assert.ts';
import type { MemoryRange } from '../../linux/memory.ts';
import type { PageRuns } from '../../linux/page-runs.ts';
import type { Round } from './write-tracker.ts';

/** Made while the process stands still; what takes time, only when it is asked for. */
export class LastRound implements Round {
  readonly #written: PageRuns;
  readonly #own: PageRuns;
  readonly #told: PageRuns;
  readonly #bytes: Uint8Array;
  /** Where in the copy each run of `written` begins. */
  #offsets: readonly number[] | null = null;

  /** @param bytes the pages of `written`, one behind another. */
  constructor(written: PageRuns, own: PageRuns, told: PageRuns, bytes: Uint8Array) {
    this.#written = written;
    this.#own = own;
    this.#told = told;
    this.#bytes = bytes;
  }

  get written(): readonly MemoryRange[] {
    return this.#written.toRanges();
  }

  get writtenBytes(): number {
    return this.#bytes.length;
  }

  get gone(): readonly MemoryRange[] {
    return this.#told.minus(this.#own).toRanges();
  }

  /** Every page that has contents of its own. */
  get own(): readonly MemoryRange[] {
    return this.#own.toRanges();
  }

  /** Fills `into` with the pages of `ranges`, which are among `written`, as they were; in any order, any number of times. */
  read(ranges: readonly MemoryRange[], into: Uint8Array): void {
    let done = 0;
    for (const { start, length } of ranges) {
      const from = this.#offsetOf(Number(start), length);
      into.set(this.#bytes.subarray(from, from + length), done);
      done += length;
    }
  }

  #offsetOf(start: number, length: number): number {
    const runs = this.#written;
    this.#offsets ??= offsetsOf(runs);
    let low = 0;
    let high = runs.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (runs.start(middle) <= start) low = middle;
      else high = middle - 1;
    }
    assert(runs.count > 0 && start >= runs.start(low) && start + length <= runs.end(low), 'pages that were not copied');
    return this.#offsets[low]! + (start - runs.start(low));
  }
}

function offsetsOf(runs: PageRuns): number[] {
  const offsets: number[] = [];
  for (let index = 0, sum = 0; index < runs.count; index++) {
    offsets.push(sum);
    sum += runs.end(index) - runs.start(index);
  }
  return offsets;
}
