/** Waiting without the event loop, for what is likely to come at once. */
import { PollSet } from '../../linux/poll.ts';
import type { Watched } from '../readiness.ts';

/** So long the thread may block without looking at its other work, and so long after something came more is likely. */
const BRIEF_MS = 0.5;
const LIKELY_MS = 1;

/**
 * A turn of the event loop and the wait behind it cost as much as half an answer over the network. While one thing follows
 * the other, they are waited for directly.
 */
export class BriefWait {
  readonly #sets = new Map<number, PollSet>();
  #lastMs = Number.NEGATIVE_INFINITY;

  /** Something came. */
  came(): void {
    this.#lastMs = performance.now();
  }

  /** @returns whether one of them is ready; false at once where nothing has come for a while. */
  wait(watched: readonly Watched[]): boolean {
    if (performance.now() - this.#lastMs > LIKELY_MS) return false;
    let set = this.#sets.get(watched.length);
    if (set === undefined) {
      set = new PollSet(watched.length);
      this.#sets.set(watched.length, set);
    }
    for (const [index, { descriptor, events }] of watched.entries()) set.set(index, descriptor, events);
    return set.wait(BRIEF_MS) > 0;
  }
}
