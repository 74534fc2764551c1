/**
 * Waiting for sockets in a worker thread that has an event loop as well.
 *
 * libuv does not watch descriptors that it has not made. So all waits of the thread stand in one poll set, and the thread
 * blocks in ppoll(2) for them, which also wakes up sooner than an event loop does. It blocks for a few milliseconds at
 * most, and gives the loop a turn in between: timers, messages of other threads and whatever a ready descriptor has set
 * going run before it blocks again.
 */
import { POLL } from '../linux/file-descriptors.ts';
import { PollSet } from '../linux/poll.ts';
import { clearWake } from '../linux/wake.ts';

/** Longest block, and longest time that the loop goes without a turn while there always is something to read. */
const SLICE_MS = 5;

export type Watched = {
  readonly descriptor: number;
  /** Of POLL; errors and hang-ups are noticed unasked. */
  readonly events: number;
};

type Wait = {
  readonly watched: readonly Watched[];
  readonly untilMs: number;
  readonly resolve: (ready: boolean) => void;
};

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Readiness {
  readonly #nowMs: () => number;
  readonly #wake: number;
  readonly #waits = new Set<Wait>();
  #running = false;
  /** Callers of {@link turn} that have not had it yet. */
  #turnsWanted = 0;
  #lastTurnMs: number;

  /**
   * @param nowMs milliseconds of a clock that never steps.
   * @param wake a descriptor (linux/wake.ts) that another thread signals when it has something for this one, so that it
   * need not wait for the end of a block. It stays the caller's.
   */
  constructor(nowMs: () => number, wake = -1) {
    this.#nowMs = nowMs;
    this.#wake = wake;
    this.#lastTurnMs = nowMs();
  }

  nowMs(): number {
    return this.#nowMs();
  }

  /** @returns true when one of them is ready; false when the time is over, or {@link forget} took it away. */
  waitAny(watched: readonly Watched[], timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#waits.add({ watched, untilMs: this.#nowMs() + timeoutMs, resolve });
    if (!this.#running) void this.#run();
    return promise;
  }

  wait(descriptor: number, events: number, timeoutMs: number): Promise<boolean> {
    return this.waitAny([{ descriptor, events }], timeoutMs);
  }

  /** Ends every wait for a descriptor. To be called before it is closed: its number may come back as another one's. */
  forget(descriptor: number): void {
    for (const wait of this.#waits)
      if (wait.watched.some((watched) => watched.descriptor === descriptor)) this.#end(wait, false);
  }

  /** True when the loop has had no turn for so long that whoever never waits should give it one. */
  get turnDue(): boolean {
    return this.#nowMs() - this.#lastTurnMs > SLICE_MS;
  }

  async turn(): Promise<void> {
    this.#turnsWanted++;
    await nextTurn();
    this.#turnsWanted--;
    this.#lastTurnMs = this.#nowMs();
  }

  #end(wait: Wait, ready: boolean): void {
    this.#waits.delete(wait);
    wait.resolve(ready);
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      // Before it blocks for the first time too: whoever has begun to wait may have more to do in this turn.
      for (await this.turn(); this.#waits.size > 0; await this.turn()) this.#block();
    } finally {
      this.#running = false;
    }
  }

  #block(): void {
    const waits = Array.from(this.#waits);
    const set = new PollSet(1 + waits.reduce((count, wait) => count + wait.watched.length, 0));
    set.set(0, this.#wake, POLL.IN);
    let index = 1;
    // Whoever wants a turn has something to do: to block now would make him wait for a whole slice.
    let untilMs = this.#nowMs() + (this.#turnsWanted > 0 ? 0 : SLICE_MS);
    for (const wait of waits) {
      untilMs = Math.min(untilMs, wait.untilMs);
      for (const { descriptor, events } of wait.watched) set.set(index++, descriptor, events);
    }
    set.wait(untilMs - this.#nowMs());
    if (set.found(0) !== 0) clearWake(this.#wake);
    index = 1;
    const nowMs = this.#nowMs();
    for (const wait of waits) {
      const first = index;
      index += wait.watched.length;
      if (wait.watched.some((_, offset) => set.found(first + offset) !== 0)) this.#end(wait, true);
      else if (nowMs >= wait.untilMs) this.#end(wait, false);
    }
  }
}
