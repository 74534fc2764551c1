/**
 * Looks after the health of a sandbox:
 *
 *     starting ──► healthy ◄──► unhealthy
 *         └────────────────────────┘        so many looks in a row have failed
 *
 * Nothing is looked at while it is paused: nobody can be healthy in a freezer or between two machines.
 */
import type { HealthSpec } from '../base/sandbox-config.ts';
import type { Health } from './state.ts';

const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 5_000;
const RETRIES = 3;
/** Until it is healthy for the first time it is looked at more often, as somebody waits for that. */
const FIRST_INTERVAL_MS = 1_000;

export const STARTING: Health = { status: 'starting', failures: 0, problem: null };

/** @returns undefined, or why it is not healthy. It gives up, and leaves nothing behind, when the signal is aborted. */
export type Look = (signal: AbortSignal) => Promise<string | undefined>;

/** Pure. @param problem of the last look; undefined: there was none. */
export function nextHealth(before: Health, problem: string | undefined, retries: number): Health {
  if (problem === undefined) return { status: 'healthy', failures: 0, problem: null };
  const failures = before.failures + 1;
  return { status: failures >= retries ? 'unhealthy' : before.status, failures, problem };
}

export class HealthWatch {
  readonly #spec: HealthSpec;
  readonly #look: Look;
  readonly #tell: (health: Health) => void;
  #health = STARTING;
  #timer: NodeJS.Timeout | undefined;
  #looking: { readonly abort: AbortController; readonly over: Promise<void> } | undefined;

  constructor(spec: HealthSpec, look: Look, tell: (health: Health) => void) {
    this.#spec = spec;
    this.#look = look;
    this.#tell = tell;
  }

  /** Of a process that has just come to run. */
  begin(): void {
    this.#health = STARTING;
    this.#tell(STARTING);
    this.resume();
  }

  resume(): void {
    clearTimeout(this.#timer);
    const { intervalMs = INTERVAL_MS } = this.#spec;
    const pauseMs = this.#health.status === 'starting' ? Math.min(intervalMs, FIRST_INTERVAL_MS) : intervalMs;
    this.#timer = setTimeout(() => this.#begin(), pauseMs);
    this.#timer.unref();
  }

  /** Resolves when no look is under way; one that is counts for nothing. */
  async pause(): Promise<void> {
    clearTimeout(this.#timer);
    this.#looking?.abort.abort();
    await this.#looking?.over;
  }

  #begin(): void {
    const abort = new AbortController();
    this.#looking = { abort, over: this.#lookOnce(abort) };
  }

  async #lookOnce(abort: AbortController): Promise<void> {
    const { timeoutMs = TIMEOUT_MS, retries = RETRIES } = this.#spec;
    const late = AbortSignal.timeout(timeoutMs);
    const problem = await this.#look(AbortSignal.any([abort.signal, late])).catch((thrown: unknown) => String(thrown));
    this.#looking = undefined;
    if (abort.signal.aborted) return;
    const said = problem !== undefined && late.aborted ? `no answer within ${timeoutMs} ms` : problem;
    this.#health = nextHealth(this.#health, said, retries);
    this.resume();
    this.#tell(this.#health);
  }
}
