/**
 * Which pages of an address space are missing, and where at the source each is found. A page is missing from the moment in
 * which the process was built until it has come, or the process has thrown it away.
 *
 * Runs of pages, ascending, not overlapping. A run that the process has moved (mremap) is at the source where it was.
 */
import { assert } from '../base/assert.ts';
import type { PageRun } from './page-range.ts';

/** Pages of the process and where they begin at the source. */
export type MissingRun = { readonly page: number; readonly count: number; readonly source: number };

type Run = { start: number; end: number /** source minus page */; shift: number; requested: boolean };

export class MissingPages {
  #runs: Run[];
  #count: number;
  /** Runs that have been moved; usually none. */
  #moved = 0;

  /** @param runs ascending, not overlapping. */
  constructor(runs: readonly MissingRun[]) {
    this.#runs = [];
    this.#count = 0;
    let last = 0;
    for (const { page, count, source } of runs) {
      assert(page >= last && count > 0, 'runs of missing pages out of order');
      last = page + count;
      this.#append({ start: page, end: last, shift: source - page, requested: false });
    }
  }

  /** As at the source: nothing has been moved yet. */
  static at(runs: readonly PageRun[]): MissingPages {
    return new MissingPages(runs.map(({ page, count }) => ({ page, count, source: page })));
  }

  /** How many pages are missing. */
  get count(): number {
    return this.#count;
  }

  runs(): MissingRun[] {
    return this.#runs.map(({ start, end, shift }) => ({ page: start, count: end - start, source: start + shift }));
  }

  /** The same pages, none of them requested: those of a child. */
  clone(): MissingPages {
    return new MissingPages(this.runs());
  }

  /** The first run that ends behind a page. */
  #find(page: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#runs[middle]!.end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #append(run: Run): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && last.end === run.start && last.shift === run.shift && last.requested === run.requested)
      last.end = run.end;
    else {
      this.#runs.push(run);
      if (run.shift !== 0) this.#moved++;
    }
    this.#count += run.end - run.start;
  }

  has(page: number): boolean {
    const run = this.#runs[this.#find(page)];
    return run !== undefined && run.start <= page;
  }

  /** Where a missing page is at the source. */
  sourceOf(page: number): number | undefined {
    const run = this.#runs[this.#find(page)];
    return run === undefined || run.start > page ? undefined : page + run.shift;
  }

  /** How many pages from `page` on are not missing, `most` at most. */
  gap(page: number, most: number): number {
    const run = this.#runs[this.#find(page)];
    return run === undefined ? most : Math.max(0, Math.min(most, run.start - page));
  }

  /**
   * What is missing among the pages [from, to) that hangs together with `page`, also at the source, without `page` itself.
   *
   * @returns the runs before and behind it, each possibly empty.
   */
  around(page: number, from: number, to: number): { readonly before: MissingRun; readonly behind: MissingRun } {
    const index = this.#find(page);
    const { shift } = this.#runs[index]!;
    let start = page;
    for (let at = index; at >= 0 && start > from; at--) {
      const run = this.#runs[at]!;
      if (run.shift !== shift || run.end < start) break;
      start = Math.max(run.start, from);
    }
    let end = page + 1;
    for (let at = index; at < this.#runs.length && end < to; at++) {
      const run = this.#runs[at]!;
      if (run.shift !== shift || run.start > end) break;
      end = Math.min(run.end, to);
    }
    return {
      before: { page: start, count: page - start, source: start + shift },
      behind: { page: page + 1, count: end - page - 1, source: page + 1 + shift },
    };
  }

  /** The missing pages whose contents are at [source, source + count) there. */
  whereSource(source: number, count: number): MissingRun[] {
    const found: MissingRun[] = [];
    const collect = (run: Run): void => {
      const start = Math.max(run.start, source - run.shift);
      const end = Math.min(run.end, source + count - run.shift);
      if (start < end) found.push({ page: start, count: end - start, source: start + run.shift });
    };
    for (let index = this.#find(source); index < this.#runs.length; index++) {
      const run = this.#runs[index]!;
      if (run.start >= source + count) break;
      if (run.shift === 0) collect(run);
    }
    if (this.#moved > 0) for (const run of this.#runs) if (run.shift !== 0) collect(run);
    return found;
  }

  /** The pages [start, end) are not missing any more. @returns how many were. */
  remove(start: number, end: number): number {
    return this.#cut(start, end).reduce((sum, run) => sum + run.end - run.start, 0);
  }

  /** Takes out what lies in [start, end). */
  #cut(start: number, end: number): Run[] {
    const first = this.#find(start);
    let behind = first;
    const out: Run[] = [];
    const kept: Run[] = [];
    for (; behind < this.#runs.length && this.#runs[behind]!.start < end; behind++) {
      const run = this.#runs[behind]!;
      out.push({ ...run, start: Math.max(run.start, start), end: Math.min(run.end, end) });
      if (run.start < start) kept.push({ ...run, end: start });
      if (run.end > end) kept.push({ ...run, start: end });
    }
    if (out.length === 0) return out;
    this.#replace(first, behind - first, kept);
    return out;
  }

  #replace(index: number, removed: number, runs: readonly Run[]): void {
    for (const run of this.#runs.splice(index, removed, ...runs)) this.#account(run, -1);
    for (const run of runs) this.#account(run, 1);
  }

  #account(run: Run, sign: 1 | -1): void {
    this.#count += sign * (run.end - run.start);
    if (run.shift !== 0) this.#moved += sign;
  }

  /** Pages are missing after all. None of them may be missing already. */
  add({ page, count, source }: MissingRun): void {
    this.#replace(this.#find(page), 0, [{ start: page, end: page + count, shift: source - page, requested: false }]);
  }

  /** The process has moved `count` pages from one place to another. What was missing there before is gone. */
  move(from: number, to: number, count: number): void {
    const moved = this.#cut(from, from + count);
    this.#cut(to, to + count);
    const by = to - from;
    const runs = moved.map((run) => ({ ...run, start: run.start + by, end: run.end + by, shift: run.shift - by }));
    this.#replace(this.#find(to), 0, runs);
  }

  /**
   * Marks missing pages in [from, to) as requested, the first run of them that is not yet.
   *
   * @param most pages.
   */
  request(from: number, to: number, most: number): MissingRun | undefined {
    for (let index = this.#find(from); index < this.#runs.length; index++) {
      const run = this.#runs[index]!;
      if (run.start >= to) return undefined;
      if (run.requested) continue;
      const start = Math.max(run.start, from);
      const end = Math.min(run.end, to, start + most);
      const parts: Run[] = [];
      if (run.start < start) parts.push({ ...run, end: start });
      parts.push({ ...run, start, end, requested: true });
      if (run.end > end) parts.push({ ...run, start: end });
      this.#replace(index, 1, parts);
      return { page: start, count: end - start, source: start + run.shift };
    }
    return undefined;
  }

  /** Nothing is requested any more: what was on its way will not come. */
  forgetRequests(): void {
    const runs = this.#runs;
    this.#runs = [];
    this.#count = 0;
    this.#moved = 0;
    for (const run of runs) this.#append({ ...run, requested: false });
  }
}
