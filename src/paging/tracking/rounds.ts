/** Copying the memory of a process while it runs, until so little is left that it can be copied while it stands still. */
import type { Round, WriteTracker } from './write-tracker.ts';

const PAGE_BYTES = 4096;

export type RoundsOptions = {
  readonly maxRounds: number;
  /** Few enough pages to end with. */
  readonly untilPages: number;
  /**
   * Copies what a round tells: the pages of `written`, with tracker.read, and what is gone. The next round tells what was
   * written while it did.
   */
  readonly onRound: (round: Round, index: number) => Promise<void> | void;
};

/** Why no more rounds were made. */
export type RoundsEnd = 'few-left' | 'not-falling' | 'rounds-used';

export type RoundsResult = {
  readonly end: RoundsEnd;
  /** How many pages each round had, the first with all of them. */
  readonly pages: readonly number[];
};

/** How much less than the least so far counts as less. */
const FALLING = 0.9;
/** So many rounds in a row that are no less. */
const PATIENCE = 2;

/**
 * Whether another round is worth its time.
 *
 * @param pages how many pages the rounds so far had.
 */
export function decide(
  pages: readonly number[],
  { maxRounds, untilPages }: Pick<RoundsOptions, 'maxRounds' | 'untilPages'>,
): RoundsEnd | 'go-on' {
  if (pages.length > 0 && pages.at(-1)! <= untilPages) return 'few-left';
  if (pages.length >= maxRounds) return 'rounds-used';
  if (pages.length > PATIENCE) {
    const least = Math.min(...pages.slice(0, -PATIENCE));
    if (pages.slice(-PATIENCE).every((count) => count > least * FALLING)) return 'not-falling';
  }
  return 'go-on';
}

/** Makes rounds until it is enough. What was written during the last of them is for tracker.last. */
export async function iterate(tracker: Pick<WriteTracker, 'next'>, options: RoundsOptions): Promise<RoundsResult> {
  const pages: number[] = [];
  for (;;) {
    const end = decide(pages, options);
    if (end !== 'go-on') return { end, pages };
    const round = tracker.next();
    pages.push(round.writtenBytes / PAGE_BYTES);
    await options.onRound(round, pages.length - 1);
  }
}
