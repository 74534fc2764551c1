import { messageOf } from './errors.ts';

/**
 * Undo steps of something that is being built, run in reverse order.
 *
 * After success call {@link keep} to give up the undoing, or hold on to the stack and {@link run} it when the thing ends.
 * A step that fails does not stop the others and never hides the error that led here: failures are returned, not thrown.
 */
export class Cleanup {
  readonly #steps: { readonly name: string; readonly undo: () => void | Promise<void> }[] = [];

  /** @param name says what is undone, for the report: "remove veth cr-1a2b". */
  defer(name: string, undo: () => void | Promise<void>): void {
    this.#steps.push({ name, undo });
  }

  keep(): void {
    this.#steps.length = 0;
  }

  /** Runs every step once, last first. @returns the failures, each naming its step. */
  async run(): Promise<Error[]> {
    const failures: Error[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (cause) {
        failures.push(new Error(`${step.name}: ${messageOf(cause)}`, { cause }));
      }
    }
    return failures;
  }
}
