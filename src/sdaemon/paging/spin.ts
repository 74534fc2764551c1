/**
 * Whether to look for an answer without blocking. It spares two changes of thread when the answer comes soon, and takes
 * the CPU away from those who are to give it when CPUs are short: so it is done as long as it pays.
 */

/** Spins in vain before it stops, and questions before it is tried again. */
const FAILURES = 4;
const REST = 64;

export class Spin {
  readonly #micros: number;
  readonly #nowMicros: () => number;
  #failures = 0;
  #resting = 0;

  /** @param micros the longest look; 0: none. */
  constructor(micros: number, nowMicros: () => number) {
    this.#micros = micros;
    this.#nowMicros = nowMicros;
  }

  /** Looks until something is found or the time is over. @returns whether something was found. */
  until(look: () => boolean): boolean {
    if (this.#micros === 0) return false;
    if (this.#resting > 0) {
      this.#resting--;
      return false;
    }
    const end = this.#nowMicros() + this.#micros;
    while (this.#nowMicros() < end) {
      if (!look()) continue;
      this.#failures = 0;
      return true;
    }
    if (++this.#failures >= FAILURES) {
      this.#failures = FAILURES - 1;
      this.#resting = REST;
    }
    return false;
  }
}
