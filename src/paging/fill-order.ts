/** In which order pages come that nobody waits for: behind recent faults, then what is likely to be used, then the rest. */
import type { MissingPages } from './missing-pages.ts';
import { countPages, type PageRun } from './page-range.ts';

/** How far behind a fault, in pages, and how many faults are remembered. */
const NEAR = 64;
const REMEMBERED = 32;

export class FillOrder {
  readonly #likely: readonly PageRun[];
  #recent: number[] = [];
  #nextLikely = 0;
  #at = 0;

  /** @param likely pages of the process, the likeliest first. */
  constructor(likely: readonly PageRun[]) {
    this.#likely = likely;
  }

  /** Somebody has touched a page; what follows from `page` on is likely to be next. */
  touched(page: number): void {
    this.#recent.push(page);
    if (this.#recent.length > REMEMBERED) this.#recent.shift();
  }

  /** Nothing has come of what was asked for. */
  restart(): void {
    this.#nextLikely = 0;
    this.#at = 0;
  }

  /**
   * Marks pages as requested. @param all of the process first, then of its children. @param most pages.
   * @returns where they are at the source.
   */
  next(all: readonly MissingPages[], most: number): PageRun[] {
    const runs: PageRun[] = [];
    const room = (): number => most - countPages(runs);
    const take = (missing: MissingPages, from: number, to: number): boolean => {
      const run = missing.request(from, to, room());
      if (run !== undefined) runs.push({ page: run.source, count: run.count });
      return run !== undefined;
    };
    const [own, ...children] = all;
    if (own === undefined) return runs;
    for (let page = this.#recent.at(-1); page !== undefined && room() > 0; page = this.#recent.at(-1))
      if (!take(own, page, page + NEAR)) this.#recent.pop();
    while (room() > 0 && this.#nextLikely < this.#likely.length) {
      const { page, count } = this.#likely[this.#nextLikely]!;
      if (!take(own, page, page + count)) this.#nextLikely++;
    }
    while (room() > 0) {
      const run = own.request(this.#at, Number.MAX_SAFE_INTEGER, room());
      if (run === undefined) {
        // What has been moved to lower addresses meanwhile.
        if (this.#at === 0) break;
        this.#at = 0;
        continue;
      }
      this.#at = run.page + run.count;
      runs.push({ page: run.source, count: run.count });
    }
    for (const child of children) while (room() > 0 && take(child, 0, Number.MAX_SAFE_INTEGER));
    return runs;
  }
}
