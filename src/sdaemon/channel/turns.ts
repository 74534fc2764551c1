/**
 * Waiting for a socket in a thread that also has an event loop: the thread blocks in poll(2), because that wakes up
 * sooner than the loop does, but never for long, so that timers and messages to the thread keep being served.
 */
import { ComicranError } from '../../base/errors.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import type { PollSet } from '../../linux/poll.ts';

/** Longest block, and longest time that the event loop goes without a turn while there always is something to do. */
const SLICE_MS = 5;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Turns {
  readonly #nowMs: () => number;
  #lastTurnMs: number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#lastTurnMs = nowMs();
  }

  async give(): Promise<void> {
    await nextTurn();
    this.#lastTurnMs = this.#nowMs();
  }

  /** True where the loop has waited long enough, though nothing had to be waited for. */
  get due(): boolean {
    return this.#nowMs() - this.#lastTurnMs > SLICE_MS;
  }

  /**
   * Blocks until an entry of the set is ready, for a slice at most, then gives the event loop a turn if none was.
   * @param wakeIndex the set's entry for the descriptor that aborts; it may hold a negative descriptor.
   * @throws ComicranError aborted
   */
  async wait(set: PollSet, wakeIndex: number, remainingMs: number): Promise<void> {
    const ready = set.wait(Math.min(SLICE_MS, remainingMs));
    if ((set.found(wakeIndex) & POLL.IN) !== 0) throw new ComicranError('aborted', 'waiting for the peer was aborted');
    if (ready === 0) await this.give();
  }
}
