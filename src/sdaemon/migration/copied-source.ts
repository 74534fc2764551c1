/** A process whose memory is copied while it runs, with the pages tracked that it writes: `precopy`, tracked snapshots. */
import type { CopiedMemory } from '../../checkpoint/copied-memory.ts';
import type { Source } from '../../checkpoint/source.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import type { PageRange, SourceCopying } from '../../migration/ports.ts';
import { iterate } from '../../paging/tracking/rounds.ts';
import { openTracker, type WriteTracker } from '../../paging/tracking/write-tracker.ts';

const MAX_ROUNDS = 16;
/** So little that it takes less time than the rest of the stop: a megabyte. */
const UNTIL_PAGES = 256;

export class CopiedProcess implements SourceCopying {
  readonly #source: Source;
  readonly #facts: KernelFacts;
  #tracker: WriteTracker | undefined;

  constructor(source: Source, facts: KernelFacts) {
    this.#source = source;
    this.#facts = facts;
  }

  /** For the capture; undefined where nothing has been copied. */
  get memory(): CopiedMemory | undefined {
    return this.#tracker;
  }

  async start(): Promise<void> {
    const inStop: Source['inStop'] = (run) => this.#source.inStop(run);
    this.#tracker = openTracker(this.#source.pid, { facts: this.#facts, inStop });
  }

  async rounds(copy: (pages: readonly PageRange[]) => Promise<void>): Promise<number> {
    const limits = { maxRounds: MAX_ROUNDS, untilPages: UNTIL_PAGES };
    const { pages } = await iterate(this.#there, { ...limits, onRound: ({ written }) => copy(written) });
    return pages.length;
  }

  readPages(ranges: readonly PageRange[], into: Uint8Array): void {
    this.#there.read(ranges, into);
  }

  get #there(): WriteTracker {
    if (this.#tracker === undefined) throw new Error('no writes are tracked');
    return this.#tracker;
  }

  /** Takes some 30 ms a gigabyte, in steps of half a millisecond for which the process, where it runs, may have to wait. */
  close(): void {
    this.#tracker?.close();
    this.#tracker = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
