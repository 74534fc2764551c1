/** Ends a sandbox on request. What it has is taken down by whoever hears that its process has ended. */
import type { Freezer } from './freezer.ts';
import type { RootStarter } from './root-starter.ts';
import type { Sandbox } from './sandbox.ts';
import { type Exit, exitOf } from './state.ts';
import type { TakeDown } from './take-down.ts';

export class Termination {
  readonly #sandbox: Sandbox;
  readonly #starter: RootStarter;
  readonly #freezer: Freezer;
  readonly #takeDown: TakeDown;

  constructor(sandbox: Sandbox, starter: RootStarter, freezer: Freezer, takeDown: TakeDown) {
    this.#sandbox = sandbox;
    this.#starter = starter;
    this.#freezer = freezer;
    this.#takeDown = takeDown;
  }

  /**
   * `signal` to the root process, SIGKILL `graceMs` later; where there is none, the sandbox ends at once. Resolves when
   * everything has been taken down; a second call waits for the first.
   */
  async terminate(signal: NodeJS.Signals, graceMs: number): Promise<Exit> {
    this.#sandbox.requested ??= 'terminated';
    const { root } = this.#sandbox;
    if (root === undefined || graceMs <= 0) this.kill();
    else {
      this.#freezer.thaw();
      root.kill(signal);
      const timer = setTimeout(() => this.kill(), graceMs);
      void this.#takeDown.finished.then(() => clearTimeout(timer));
    }
    return this.#takeDown.finished;
  }

  /** The process lives elsewhere now: what is left of it here ends, and nobody calls it a crash. */
  async release(): Promise<Exit> {
    this.#sandbox.requested = 'released';
    this.kill();
    return this.#takeDown.finished;
  }

  /**
   * Somebody has asked it to end: what the sandbox stands and falls with is killed, or as soon as it runs. Between two runs
   * there is no such process, and the take-down begins at once.
   */
  kill(): void {
    const { root, construction, requested, state } = this.#sandbox;
    this.#sandbox.thawProcesses();
    if (root === undefined && this.#starter.isStarting) return;
    if (state.phase === 'restarting') {
      const last = state.restarts.last ?? exitOf('terminated', undefined);
      void this.#takeDown.finish({ ...last, reason: requested ?? last.reason });
    } else (root ?? construction?.hatchery)?.kill('SIGKILL');
  }
}
