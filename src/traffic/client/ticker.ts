/**
 * A clock that ticks more finely than the event loop's timers, which know whole milliseconds. A thread sleeps until a
 * tick is due and wakes the event loop; its sleep is as good as the kernel's (some 60 µs late), and no CPU time is spent
 * on waiting, which on a small machine would be taken from what is measured.
 */
import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';

/** Words of the memory that the ticker shares with its thread. */
export const TICK_WORDS = { ticks: 0, stop: 1 } as const;

export type TickerData = {
  readonly words: Int32Array<SharedArrayBuffer>;
  /** First tick, by process.hrtime. */
  readonly startNs: bigint;
  readonly periodNs: number;
};

export class Ticker {
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #worker: Worker;
  #seen = 0;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Starts the thread; no tick comes before {@link begin}. The caller stops the ticker. */
  static async create(): Promise<Ticker> {
    const worker = new Worker(new URL(`./ticker-thread${extname(import.meta.filename)}`, import.meta.url));
    // 'online' would come before the thread has loaded its file.
    await once(worker, 'message');
    return new Ticker(worker);
  }

  begin(startNs: bigint, periodNs: number): void {
    const data: TickerData = { words: this.#words, startNs, periodNs };
    this.#worker.postMessage(data);
  }

  /** Resolves at the next tick, at once if there was one since the last call, and when the ticker is stopped. */
  async next(): Promise<void> {
    const { ticks } = TICK_WORDS;
    const result = Atomics.waitAsync(this.#words, ticks, this.#seen);
    if (result.async) await result.value;
    this.#seen = Atomics.load(this.#words, ticks);
  }

  async stop(): Promise<void> {
    Atomics.store(this.#words, TICK_WORDS.stop, 1);
    Atomics.notify(this.#words, TICK_WORDS.stop);
    this.#wake();
    await this.#worker.terminate();
  }

  /** Ends a wait without a tick. */
  #wake(): void {
    Atomics.add(this.#words, TICK_WORDS.ticks, 1);
    Atomics.notify(this.#words, TICK_WORDS.ticks);
  }
}
