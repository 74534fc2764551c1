/** Nothing in a migration waits without an end: every wait has a deadline, and most end early when it is aborted. */
import { ComicranError } from '../base/errors.ts';
import type { Clock } from './ports.ts';

/** In milliseconds. */
export type Deadlines = {
  /** From the first step to TAKE, all together. */
  readonly totalMs: number;
  /** Each single step, answer or message before TAKE. */
  readonly stepMs: number;
  /** From TAKE until the source asks the record instead of waiting for OWNED. Nobody runs meanwhile. */
  readonly ownedMs: number;
  /** Longest that packets wait at a destination that runs already, for older ones that the source carries over. */
  readonly holdMs: number;
  /** For the hand-over of datagrams, reconnections included. */
  readonly handOverMs: number;
  /**
   * Replicated: how long a destination that owns and has not heard the end of the log leaves it to the source to come and
   * take everything back, before it goes on with what it has. Also for a daemon that starts again in that state.
   */
  readonly giveBackMs: number;
  /** Replicated: how long the source waits for word from a destination that owns; well above giveBackMs. */
  readonly confirmMs: number;
  /** Replicated: how long the destination tries to have the network lead to it, and the source goes on meanwhile. */
  readonly leadMs: number;
  /**
   * Postcopy: how long a side that waits for the rest of the memory to be brought over bears it that nothing is heard of
   * the other one, or that no page comes.
   */
  readonly fillMs: number;
  /** Replicated: between two looks of a destination that keeps the copy of a silent source at what has become of it. */
  readonly keepLookMs: number;
  /** Longest pause between two questions to an sdn that does not answer; the first is a 64th of it. */
  readonly retryMs: number;
};

export const DEFAULT_DEADLINES: Deadlines = {
  totalMs: 60_000,
  stepMs: 10_000,
  ownedMs: 2_000,
  holdMs: 500,
  handOverMs: 3_000,
  giveBackMs: 30_000,
  confirmMs: 60_000,
  leadMs: 30_000,
  fillMs: 600_000,
  keepLookMs: 2_000,
  retryMs: 1_000,
};

/** Of machines that need so many times as long as usual for everything: both of a migration's. */
export function patientDeadlines(patience: number): Deadlines {
  const scaled = Object.entries(DEFAULT_DEADLINES).map(([name, milliseconds]) => [name, milliseconds * patience]);
  return { ...DEFAULT_DEADLINES, ...Object.fromEntries(scaled) };
}

export type WaitOptions<T> = {
  readonly signal?: AbortSignal | undefined;
  /** Called with the result where it comes after this has given up: whoever waits for a thing owns it. */
  readonly onLate?: (value: T) => unknown;
};

/**
 * The value, or what the promise comes to in time. A value that is there already costs nothing but the call.
 *
 * @param what names the wait in the error: "the destination's READY"
 * @throws ComicranError deadline, aborted, or what the promise was rejected with
 */
export async function within<T>(
  clock: Clock,
  milliseconds: number,
  what: string,
  value: T | Promise<T>,
  options: WaitOptions<T> = {},
): Promise<T> {
  if (!(value instanceof Promise)) return value;
  const { signal, onLate } = options;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let waiting = true;
  const giveUp = (error: ComicranError): void => {
    waiting = false;
    reject(error);
  };
  const onAbort = (): void => giveUp(abortedError());
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  const cancelTimer = clock.startTimer(Math.max(0, milliseconds), () =>
    giveUp(new ComicranError('deadline', `${what} took longer than ${Math.round(milliseconds)} ms`)),
  );
  value.then(
    (result) => (waiting ? resolve(result) : onLate?.(result)),
    // Behind the deadline a failure has nobody left to tell; the deadline has been told already.
    (error: unknown) => reject(error),
  );
  try {
    return await promise;
  } finally {
    waiting = false;
    cancelTimer();
    signal?.removeEventListener('abort', onAbort);
  }
}

export function abortedError(): ComicranError {
  return new ComicranError('aborted', 'the migration was aborted on request');
}

export function sleep(clock: Clock, milliseconds: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.startTimer(milliseconds, () => resolve());
  return promise;
}

/** A moment by the clock, to measure what is left until then. */
export class Deadline {
  readonly #clock: Clock;
  readonly #atMicros: number;

  constructor(clock: Clock, milliseconds: number) {
    this.#clock = clock;
    this.#atMicros = clock.nowMicros() + milliseconds * 1000;
  }

  get remainingMs(): number {
    return Math.max(0, (this.#atMicros - this.#clock.nowMicros()) / 1000);
  }

  get over(): boolean {
    return this.#clock.nowMicros() >= this.#atMicros;
  }
}
