/** Steps whose failure changes nothing of a migration's outcome, and must not be lost either. */
import { messageOf } from '../base/errors.ts';
import type { Clock } from './ports.ts';
import { type Deadlines, within } from './waiting.ts';

export class Leftovers {
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;
  readonly #failures: Error[] = [];

  constructor(clock: Clock, deadlines: Deadlines) {
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  get failures(): readonly Error[] {
    return this.#failures;
  }

  add(what: string, cause: unknown): void {
    this.#failures.push(new Error(`${what}: ${messageOf(cause)}`, { cause }));
  }

  /** @returns what the step came to; undefined where it failed, which is noted. */
  async result<T extends object>(what: string, step: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await within(this.#clock, this.#deadlines.stepMs, what, step());
    } catch (cause) {
      this.add(what, cause);
      return undefined;
    }
  }

  /** @returns whether it succeeded. */
  async tidy(what: string, step: () => void | Promise<void>): Promise<boolean> {
    const done = await this.result(what, async () => {
      await step();
      return {};
    });
    return done !== undefined;
  }
}
