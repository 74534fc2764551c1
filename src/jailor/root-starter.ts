/**
 * Brings the root process to run in a sandbox that is there: for the first time in a created one, and again after its end
 * where the restart policy has it so.
 */
import { defined } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { endOthers } from './leftover-processes.ts';
import type { Newcomers } from './newcomers.ts';
import { type NextStart, nextStart } from './restart-policy.ts';
import type { RootWatch } from './root-watch.ts';
import type { Sandbox } from './sandbox.ts';
import type { Exit } from './state.ts';

export type RootStarterOptions = {
  readonly sandbox: Sandbox;
  readonly newcomers: Newcomers;
  readonly watch: RootWatch;
  /** Whether the restart policy of the configuration is followed. */
  readonly followsPolicy: boolean;
  /** Called when the sandbox ends with its root process: that is not started again. */
  readonly onOver: (exit: Exit) => Promise<void>;
  /** Ends a sandbox whose root process runs, or which has none and is not about to have one. */
  readonly kill: () => void;
};

export class RootStarter {
  readonly #options: RootStarterOptions;
  readonly #sandbox: Sandbox;
  /** Where the phase is `restarting`: what waits for its time. */
  #nextStart: NodeJS.Timeout | undefined;
  #isStarting = false;

  constructor(options: RootStarterOptions) {
    this.#options = options;
    this.#sandbox = options.sandbox;
  }

  /** A root process is on its way. If the sandbox has been asked to end, it is ended as soon as it runs. */
  get isStarting(): boolean {
    return this.#isStarting;
  }

  /** What waits for its time does not come. */
  cancel(): void {
    clearTimeout(this.#nextStart);
  }

  /**
   * Created: starts the root process.
   * @throws ComicranError sandbox.not-running, sandbox.setup-failed; the sandbox stays as it is then.
   */
  async startFirst(): Promise<void> {
    const sandbox = this.#sandbox;
    const { id, phase } = sandbox.state;
    if (phase !== 'created' || this.#isStarting) throw sandbox.notRunning('started');
    this.#isStarting = true;
    try {
      await this.#start();
    } catch (cause) {
      this.#isStarting = false;
      if (sandbox.requested !== undefined) this.#options.kill();
      throw new ComicranError('sandbox.setup-failed', `sandbox ${id}: ${messageOf(cause)}`, { cause });
    }
  }

  /** The root process has ended: it is started again later, or everything is over. @param ranMs how long it ran */
  async ended(exit: Exit, ranMs: number): Promise<void> {
    const { followsPolicy, onOver } = this.#options;
    const { config, requested, state, told } = this.#sandbox;
    const isOver = requested !== undefined || state.moving || !followsPolicy;
    const next: NextStart = isOver
      ? { kind: 'end', gaveUp: false }
      : nextStart(config.restart, state.restarts, exit, ranMs);
    if (next.kind === 'start') return this.#restartLater(exit, next);
    told.note({ restarts: { ...state.restarts, gaveUp: next.gaveUp } });
    await onOver(exit);
  }

  #restartLater(exit: Exit, { delayMs, inRow }: Extract<NextStart, { kind: 'start' }>): void {
    const { told, state } = this.#sandbox;
    if (state.frozen) this.#sandbox.thawProcesses();
    void this.#options.watch.pauseLooks();
    const restarts = { ...state.restarts, inRow, nextAtMs: Date.now() + delayMs, last: exit };
    told.become({ phase: 'restarting', process: null, frozen: false, health: null, restarts });
    this.#nextStart = setTimeout(() => void this.#restart(exit), delayMs);
  }

  /** Nothing of the run before is left when the next one begins, but for what it has written. */
  async #restart(before: Exit): Promise<void> {
    const sandbox = this.#sandbox;
    const { cgroup, init } = sandbox.state;
    this.#isStarting = true;
    try {
      const kept = new Set([defined(init, 'the init').pid, ...this.#options.newcomers.pids]);
      await endOthers(defined(cgroup, 'the cgroup'), kept);
      await this.#start();
    } catch (thrown) {
      process.stderr.write(`comicran jailor: it could not be started again: ${messageOf(thrown)}\n`);
      this.#isStarting = false;
      const { restarts } = sandbox.state;
      sandbox.told.note({ restarts: { ...restarts, count: restarts.count + 1 } });
      await this.ended({ ...before, reason: sandbox.requested ?? before.reason }, 0);
    }
  }

  async #start(): Promise<void> {
    const sandbox = this.#sandbox;
    const { newcomers, watch, kill } = this.#options;
    const { child: root, state: process } = await newcomers.startRoot(sandbox.state);
    const construction = defined(sandbox.construction, 'a sandbox that is there');
    construction.process = root;
    const { phase, restarts } = sandbox.state;
    const isFirst = phase === 'created';
    this.#isStarting = false;
    const nowMs = Date.now();
    sandbox.told.become({
      phase: 'running',
      process,
      hatchery: null,
      ...(isFirst
        ? { startedAtMs: nowMs }
        : { restarts: { ...restarts, count: restarts.count + 1, nextAtMs: null, startedAtMs: nowMs } }),
    });
    if (isFirst) construction.hatchery?.kill('SIGKILL');
    watch.begin(root);
    // Asked to end meanwhile.
    if (sandbox.requested !== undefined) kill();
  }
}
