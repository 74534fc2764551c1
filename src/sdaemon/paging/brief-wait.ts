/** Waiting without the event loop, for what is likely to come at once. */
import { PollSet } from '../../linux/poll.ts';
import type { Watched } from '../readiness.ts';
import { Spin } from './spin.ts';

/** So long the thread may block without looking at its other work, and so long after something came more is likely. */
const BRIEF_MS = 0.5;
const LIKELY_MS = 1;
/** A CPU that has gone idle takes tens of microseconds to come back, in a virtual machine above all. */
const SPIN_MICROS = 300;

/**
 * A turn of the event loop and the wait behind it cost as much as half an answer over the network. While one thing follows
 * the other, they are waited for directly.
 */
export class BriefWait {
  readonly #sets = new Map<number, PollSet>();
  readonly #spin = new Spin(SPIN_MICROS, () => performance.now() * 1000);
  #lastMs = Number.NEGATIVE_INFINITY;

  /** Something came. */
  came(): void {
    this.#lastMs = performance.now();
  }

  /** @param isUrgent a thread of a process waits for it. @returns whether one of them is ready; false at once where nothing has come for a while. */
  wait(watched: readonly Watched[], isUrgent: boolean): boolean {
    if (performance.now() - this.#lastMs > LIKELY_MS) return false;
    let set = this.#sets.get(watched.length);
    if (set === undefined) {
      set = new PollSet(watched.length);
      this.#sets.set(watched.length, set);
    }
    for (const [index, { descriptor, events }] of watched.entries()) set.set(index, descriptor, events);
    const all = set;
    return (isUrgent && this.#spin.until(() => all.wait(0) > 0)) || all.wait(BRIEF_MS) > 0;
  }
}
