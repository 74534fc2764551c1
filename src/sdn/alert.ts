import { FirstPlace } from '../linux/urgency.ts';

/**
 * Between its first beginning and its last end the calling thread goes before others of the machine: while the sdn makes up
 * its mind in a cutover nobody answers.
 */
export class Alert {
  readonly #place = new FirstPlace();
  readonly #reasons = new Set<object>();

  /** Does nothing where this reason is there already. */
  begin(reason: object): void {
    this.#reasons.add(reason);
    this.#place.take();
  }

  /** Does nothing where this reason is not there. */
  end(reason: object): void {
    this.#reasons.delete(reason);
    if (this.#reasons.size === 0) this.#place.leave();
  }
}
