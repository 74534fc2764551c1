/** What brings the rest of a process's memory over in mode `postcopy`: the page server of one machine, the fill of the other. */
import { ComicranError } from '../../base/errors.ts';
import type { Fill, FillCounts, PageServer } from '../ports.ts';
import type { Life } from './life.ts';
import { type Memory, PAGE } from './server.ts';
import type { World } from './world.ts';

export const PAGE_SERVER: PageServer = {
  address: Uint8Array.of(10, 0, 0, 1),
  port: 7000,
  key: new Uint8Array(32).fill(7),
};

/** What a page server says: the page, `away` it is not there now, `gone` its process has ended. */
export type Served = Uint8Array | 'away' | 'gone';

export type PagedProcess = {
  readonly memory: Memory;
  /** Numbers of pages that are not there yet. */
  readonly missing: Set<number>;
  /** The page that it waits for. */
  awaited: number | undefined;
  /** Somebody who outlives the daemon hears of those who touch a missing page. */
  isKept: boolean;
};

export class FakeFill implements Fill {
  readonly #world: World;
  readonly #process: PagedProcess;
  readonly #life: Life;
  readonly #isThere: () => boolean;
  readonly #onPage: () => void;
  readonly #end = Promise.withResolvers<FillCounts>();
  #all = false;
  #faults = 0;
  #faultedPages = 0;
  #filledPages = 0;

  /** @param isThere whether the process has not been destroyed */
  constructor(world: World, process: PagedProcess, life: Life, isThere: () => boolean, onPage: () => void) {
    this.#world = world;
    this.#process = process;
    this.#life = life;
    this.#isThere = isThere;
    this.#onPage = onPage;
    this.#end.promise.catch(() => {});
    void this.#run();
  }

  filled(): Promise<FillCounts> {
    return this.#end.promise;
  }

  async secured(): Promise<void> {
    await this.#world.work();
    if (!this.#life.dead) this.#process.isKept = true;
  }

  fetchAll(): void {
    this.#all = true;
  }

  missingPages(): number {
    return this.#process.missing.size;
  }

  async #run(): Promise<void> {
    const { missing } = this.#process;
    while (missing.size > 0 && this.#isThere() && !this.#life.dead) {
      const { awaited } = this.#process;
      const isFault = awaited !== undefined && missing.has(awaited);
      const page = isFault ? awaited : Math.min(...missing);
      if (!isFault && !this.#all) {
        await this.#world.clock.pause(500);
        continue;
      }
      await this.#world.clock.pause(this.#world.random.between(20, this.#world.pageMicros));
      const served = this.#world.source.servedPage(page);
      if (this.#life.dead || !this.#isThere()) break;
      if (served === 'gone') {
        this.#world.violation(`page ${page} is missing, and the process that has it has ended`);
        this.#end.reject(new ComicranError('process.gone', 'the process at the source has ended'));
        return;
      }
      if (served === 'away') continue;
      this.#process.memory.pages.set(served, page * PAGE);
      missing.delete(page);
      if (isFault) {
        this.#faults++;
        this.#faultedPages++;
      } else this.#filledPages++;
      this.#onPage();
    }
    if (this.#life.dead) return;
    const { faultedPages, filledPages } = { faultedPages: this.#faultedPages, filledPages: this.#filledPages };
    const ended = missing.size > 0 ? { code: null, signal: 'SIGKILL' } : undefined;
    const faultMicros = this.#faults > 0 ? 80 : 0;
    this.#end.resolve({ faults: this.#faults, faultedPages, filledPages, faultMicros, ended });
  }
}
