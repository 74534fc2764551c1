import type { Clock } from '../ports.ts';

type Timer = { readonly atMicros: number; readonly order: number; readonly callback: () => void };

/**
 * Time that passes only when nothing else can happen. What runs against it must wait for nothing but promises and this
 * clock's timers; then a migration of seconds takes microseconds, and the same schedule gives the same run.
 */
export class VirtualClock implements Clock {
  #nowMicros = 0;
  #order = 0;
  /** A binary heap by time, then by order of starting. */
  readonly #timers: Timer[] = [];
  readonly #cancelled = new Set<Timer>();

  nowMicros(): number {
    return this.#nowMicros;
  }

  startTimer(milliseconds: number, callback: () => void): () => void {
    const timer = { atMicros: this.#nowMicros + Math.max(0, milliseconds) * 1000, order: this.#order++, callback };
    this.#push(timer);
    return () => void this.#cancelled.add(timer);
  }

  /** For what is a part of the fake world: the same in microseconds. */
  after(micros: number, callback: () => void): void {
    this.startTimer(micros / 1000, callback);
  }

  pause(micros: number): Promise<void> {
    return new Promise((resolve) => this.after(micros, resolve));
  }

  /** Lets time pass until the promise has come to an end. @throws if it never can, because nothing is left to happen. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let ended = false;
    const end = (): void => {
      ended = true;
    };
    promise.then(end, end);
    for (;;) {
      // Every promise that can be settled is, before a macrotask runs.
      await new Promise((resolve) => setImmediate(resolve));
      if (ended) return promise;
      const timer = this.#pop();
      if (timer === undefined) throw new Error('nothing can happen any more, and it has not come to an end');
      this.#nowMicros = Math.max(this.#nowMicros, timer.atMicros);
      timer.callback();
    }
  }

  #pop(): Timer | undefined {
    for (;;) {
      const top = this.#timers[0];
      const last = this.#timers.pop();
      if (top === undefined || last === undefined) return undefined;
      if (top !== last) {
        this.#timers[0] = last;
        this.#sink();
      }
      if (!this.#cancelled.delete(top)) return top;
    }
  }

  #push(timer: Timer): void {
    let at = this.#timers.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(this.#timers[at]!, this.#timers[parent]!)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(): void {
    for (let at = 0; ; ) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < this.#timers.length && before(this.#timers[child]!, this.#timers[least]!)) least = child;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const kept = this.#timers[a]!;
    this.#timers[a] = this.#timers[b]!;
    this.#timers[b] = kept;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.atMicros < b.atMicros || (a.atMicros === b.atMicros && a.order < b.order);
}
