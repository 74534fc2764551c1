import { beFirst, beNormal, currentScheduling } from '../linux/urgency.ts';

/**
 * Between its first beginning and its last end the calling thread goes before others of the machine: while the sdn makes up
 * its mind in a cutover nobody answers.
 */
export class Alert {
  readonly #scheduling = currentScheduling();
  readonly #reasons = new Set<object>();

  /** Does nothing where this reason is there already. */
  begin(reason: object): void {
    if (this.#reasons.size === 0) beFirst();
    this.#reasons.add(reason);
  }

  /** Does nothing where this reason is not there. */
  end(reason: object): void {
    if (this.#reasons.delete(reason) && this.#reasons.size === 0) beNormal(this.#scheduling);
  }
}
