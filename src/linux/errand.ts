/** Work that is done in the moments in which this program would only wait for a traced thread. */

import type { WaitStatus } from './wait.ts';
import * as wait from './wait.ts';

/**
 * Made of steps of some 20 µs each: a thread that has stopped meanwhile is seen behind the step. They must neither read the
 * memory of the traced process nor let anything of it run. What a step throws comes out of {@link finish}.
 */
export class Errand<T> {
  readonly #steps: Iterator<void, T>;
  #outcome: { readonly value: T } | { readonly error: unknown } | null = null;

  constructor(steps: Iterator<void, T>) {
    this.#steps = steps;
  }

  get isOver(): boolean {
    return this.#outcome !== null;
  }

  /** Does one more step. Does nothing when all have been done. */
  step(): void {
    if (this.#outcome !== null) return;
    try {
      const { done, value } = this.#steps.next();
      if (done === true) this.#outcome = { value };
    } catch (error) {
      this.#outcome = { error };
    }
  }

  /** Gives up what is left. */
  [Symbol.dispose](): void {
    if (this.#outcome === null) this.#steps.return?.();
  }

  /** Does whatever is left. @throws what a step has thrown. */
  finish(): T {
    while (this.#outcome === null) this.step();
    if ('error' in this.#outcome) throw this.#outcome.error;
    return this.#outcome.value;
  }
}

/**
 * Waits until a thread reports, see waitThread, and works meanwhile. A thread that has reported already is seen before any
 * step.
 */
export function waitBusily(
  tid: number,
  errand: Errand<unknown> | null,
  world: Pick<typeof wait, 'pollThread' | 'waitThread'> = wait,
): WaitStatus {
  while (errand?.isOver === false) {
    const status = world.pollThread(tid);
    if (status !== null) return status;
    errand.step();
  }
  return world.waitThread(tid);
}
