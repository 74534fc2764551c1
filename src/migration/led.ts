/** At the source of a replicated migration: until the network leads to the destination what it led here. */
import type { Clock } from './ports.ts';
import type { SourceLine } from './roles.ts';

const NEVER = new Promise<never>(() => {});

export class Led {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  readonly #over = Promise.withResolvers<void>();
  readonly #cancelPatience: () => void;
  #cancelAlone = (): void => {};
  #overSinceMicros: number | undefined;

  /** @param patienceMs how long it is waited for; 0: it is so already. */
  constructor(clock: Clock, patienceMs: number) {
    this.#clock = clock;
    this.#patienceMs = patienceMs;
    this.#cancelPatience = patienceMs > 0 ? clock.startTimer(patienceMs, () => this.end()) : () => {};
    if (patienceMs === 0) this.end();
  }

  /** Resolves when the destination has said so, or nobody waits for it any more. Never rejects. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Milliseconds since it is over; negative where it is not: those that it may still take. */
  get sinceMs(): number {
    const nowMicros = this.#clock.nowMicros();
    return this.#overSinceMicros === undefined ? -this.#patienceMs : (nowMicros - this.#overSinceMicros) / 1000;
  }

  /**
   * Listens to the destination until it has said so. Others may receive from the line when it is over.
   * @returns never; rejects where the line breaks before.
   */
  async listen(line: SourceLine): Promise<never> {
    this.#cancelAlone();
    try {
      const isOver = (): boolean => this.#overSinceMicros !== undefined;
      if (!isOver()) {
        const message = await line.receiveUnless(isOver, this.#patienceMs, 'LED');
        if (message?.type === 'LED') this.end();
        else if (message !== undefined) throw line.unexpected(message, 'LED');
      }
    } catch (error) {
      if (this.#overSinceMicros === undefined) throw error;
    }
    return NEVER;
  }

  /** There is no line on which it could be said: it is waited for so long, where none comes. */
  alone(patienceMs: number): void {
    this.#cancelAlone();
    this.#cancelAlone = this.#clock.startTimer(patienceMs, () => this.end());
  }

  /** Nobody waits for it any more. */
  end(): void {
    if (this.#overSinceMicros !== undefined) return;
    this.#overSinceMicros = this.#clock.nowMicros();
    this.#cancelPatience();
    this.#cancelAlone();
    this.#over.resolve();
  }
}
