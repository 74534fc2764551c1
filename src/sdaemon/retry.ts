import { setTimeout as sleep } from 'node:timers/promises';

export type RetryOptions = {
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  readonly signal: AbortSignal;
  /** Told of each failure. */
  readonly onFailure: (thrown: unknown, nextPauseMs: number) => void;
};

/** Tries until it succeeds, with growing pauses, or the signal is aborted. */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  for (let pauseMs = options.firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, options.longestPauseMs)) {
    options.signal.throwIfAborted();
    try {
      return await attempt();
    } catch (thrown) {
      options.onFailure(thrown, pauseMs);
    }
    await sleep(pauseMs, undefined, { signal: options.signal });
  }
}
