/** What of a process's memory was still to be copied when it stood still, and the copy. */
import { assert } from '../../base/assert.ts';
import type { MemoryRange } from '../../linux/memory.ts';
import type { PageRuns } from '../../linux/page-runs.ts';
import type { Round } from './write-tracker.ts';

/** Pages, and their contents one behind another. */
export type CopiedPages = { readonly runs: PageRuns; readonly bytes: Uint8Array };

/** Made while the process stands still: what takes time is done when it is asked for. */
export class LastRound implements Round {
  readonly #inStop: CopiedPages;
  readonly #before: CopiedPages;
  readonly #own: PageRuns;
  readonly #told: PageRuns;
  #layers: readonly Layer[] | null = null;

  /**
   * @param inStop what was copied while the process stood still, and `before` shortly before: of a page that is in both, the
   *   first counts.
   * @param own every page that the process had, and `told` those that a copy has.
   */
  constructor(inStop: CopiedPages, before: CopiedPages, { own, told }: { own: PageRuns; told: PageRuns }) {
    this.#inStop = inStop;
    this.#before = before;
    this.#own = own;
    this.#told = told;
  }

  get #runs(): PageRuns {
    const { runs } = this.#before;
    return this.#inStop.runs.union(runs.minus(runs.minus(this.#own)));
  }

  get written(): readonly MemoryRange[] {
    return this.#runs.toRanges();
  }

  get writtenBytes(): number {
    return this.#runs.bytes;
  }

  /** How much of it was copied while the process stood still. */
  get bytesInStop(): number {
    return this.#inStop.bytes.length;
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
    this.#layers ??= [new Layer(this.#inStop), new Layer(this.#before)];
    const [inStop, before] = this.#layers as [Layer, Layer];
    let done = 0;
    for (const { start, length } of ranges) {
      const end = Number(start) + length;
      for (let at = Number(start); at < end; ) {
        const part = inStop.from(at, end) ?? before.from(at, Math.min(end, inStop.next(at)));
        assert(part !== null, 'pages that were not copied');
        into.set(part, done);
        done += part.length;
        at += part.length;
      }
    }
  }
}

/** Copied pages, to be found by their addresses. */
class Layer {
  readonly #runs: PageRuns;
  readonly #bytes: Uint8Array;
  /** Where in the copy each run begins. */
  readonly #offsets: number[] = [];

  constructor({ runs, bytes }: CopiedPages) {
    this.#runs = runs;
    this.#bytes = bytes;
    for (let index = 0, sum = 0; index < runs.count; index++) {
      this.#offsets.push(sum);
      sum += runs.end(index) - runs.start(index);
    }
  }

  /** The contents from an address on, up to where they end or to `end`; null: there are none. */
  from(address: number, end: number): Uint8Array | null {
    const index = this.#indexOf(address);
    if (index < 0 || address >= this.#runs.end(index)) return null;
    const offset = this.#offsets[index]! + (address - this.#runs.start(index));
    return this.#bytes.subarray(offset, offset + Math.min(end, this.#runs.end(index)) - address);
  }

  /** Where the next run behind an address begins. */
  next(address: number): number {
    const index = this.#indexOf(address) + 1;
    return index < this.#runs.count ? this.#runs.start(index) : Number.POSITIVE_INFINITY;
  }

  /** The last run that begins at or before an address; -1: none. */
  #indexOf(address: number): number {
    let low = 0;
    let high = this.#runs.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs.start(middle) <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
