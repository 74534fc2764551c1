/** Sets of pages as runs, kept small and quick to build: they are made while a process stands still. */
import { assert } from '../base/assert.ts';
import type { MemoryRange } from './memory.ts';

/**
 * Ascending runs that neither overlap nor touch. Addresses are numbers here: those of a process are below 2^47.
 */
export class PageRuns {
  /** Start and end of each. */
  #edges = new Float64Array(512);
  #count = 0;

  static of(...runs: readonly (readonly [start: number, end: number])[]): PageRuns {
    const made = new PageRuns();
    for (const [start, end] of runs) made.append(start, end);
    return made;
  }

  get count(): number {
    return this.#count;
  }

  start(index: number): number {
    return this.#edges[index * 2]!;
  }

  /** Exclusive. */
  end(index: number): number {
    return this.#edges[index * 2 + 1]!;
  }

  get bytes(): number {
    let sum = 0;
    for (let index = 0; index < this.#count; index++) sum += this.end(index) - this.start(index);
    return sum;
  }

  /** Adds what lies behind everything that is in it. */
  append(start: number, end: number): void {
    const at = this.#count * 2;
    if (at > 0) {
      const last = this.#edges[at - 1]!;
      assert(start >= last, 'runs are appended in ascending order');
      if (last === start) {
        this.#edges[at - 1] = end;
        return;
      }
    }
    if (at === this.#edges.length) {
      const larger = new Float64Array(at * 2);
      larger.set(this.#edges);
      this.#edges = larger;
    }
    this.#edges[at] = start;
    this.#edges[at + 1] = end;
    this.#count++;
  }

  appendAll(other: PageRuns): void {
    for (let index = 0; index < other.count; index++) this.append(other.start(index), other.end(index));
  }

  clear(): void {
    this.#count = 0;
  }

  /** Everything that is in one of the two. */
  union(other: PageRuns): PageRuns {
    const result = new PageRuns();
    let start = 0;
    let end = -1;
    for (let mine = 0, its = 0; mine < this.count || its < other.count; ) {
      const fromMine = its >= other.count || (mine < this.count && this.start(mine) <= other.start(its));
      const [nextStart, nextEnd] = fromMine
        ? [this.start(mine), this.end(mine++)]
        : [other.start(its), other.end(its++)];
      if (nextStart <= end) {
        if (nextEnd > end) end = nextEnd;
        continue;
      }
      if (end >= 0) result.append(start, end);
      start = nextStart;
      end = nextEnd;
    }
    if (end >= 0) result.append(start, end);
    return result;
  }

  /** What is in this one and not in the other. */
  minus(other: PageRuns): PageRuns {
    const result = new PageRuns();
    let its = 0;
    for (let mine = 0; mine < this.count; mine++) {
      let at = this.start(mine);
      const end = this.end(mine);
      while (its < other.count && other.end(its) <= at) its++;
      for (let next = its; next < other.count && other.start(next) < end; next++) {
        if (other.start(next) > at) result.append(at, other.start(next));
        at = other.end(next);
      }
      if (at < end) result.append(at, end);
    }
    return result;
  }

  /** As the rest of the program has them. */
  toRanges(): MemoryRange[] {
    const ranges: MemoryRange[] = [];
    for (let index = 0; index < this.#count; index++)
      ranges.push({ start: BigInt(this.start(index)), length: this.end(index) - this.start(index) });
    return ranges;
  }
}
