/**
 * One sandbox from beginning to end. The transitions are drawn in state.ts; each is written to the state file before
 * anybody is told. What carries them out lies beside this file:
 *
 *     RootWatch    why the root process has ended, and its health until then
 *     RootStarter  the root process in a sandbox that is there: the first one, and restarts
 *     Freezer      freeze and thaw
 *     Admission    what else may have it: a migration, programs of an operator's
 *     Termination  the end, on request
 *     TakeDown     the end, carried out
 */
import { resolve } from 'node:path';
import { assert, defined } from '../base/assert.ts';
import { Admission } from './admission.ts';
import { checkAdoptable } from './adoptable.ts';
import { applyPlan } from './apply.ts';
import { adoptedChild, killed, reapStrangers, type StrangerReaper } from './child.ts';
import type { Construction } from './construction.ts';
import { firstState, madeState } from './first-state.ts';
import { Freezer } from './freezer.ts';
import { KeptDescriptors } from './kept-descriptors.ts';
import { type SandboxPaths, sandboxPaths, storeDirectory } from './naming.ts';
import { Newcomers } from './newcomers.ts';
import { processState } from './process-state.ts';
import { RootStarter } from './root-starter.ts';
import { RootWatch } from './root-watch.ts';
import { Sandbox } from './sandbox.ts';
import { type Exit, exitOf, type SandboxState, writeWhole } from './state.ts';
import type { SupervisorOptions } from './supervisor-options.ts';
import { TakeDown } from './take-down.ts';
import { Termination } from './termination.ts';
import { ToldState } from './told-state.ts';

export class Supervisor {
  readonly paths: SandboxPaths;
  readonly #options: SupervisorOptions;
  readonly #sandbox: Sandbox;
  readonly #newcomers: Newcomers;
  readonly #watch: RootWatch;
  readonly #starter: RootStarter;
  readonly #freezer: Freezer;
  readonly #admission: Admission;
  readonly #kept: KeptDescriptors;
  readonly #takeDown: TakeDown;
  readonly #termination: Termination;
  #strangers: StrangerReaper | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const { config, restarts: followsPolicy } = options;
    const stateDirectory = resolve(options.stateDirectory);
    this.paths = sandboxPaths(stateDirectory, config.id);
    const sandbox = new Sandbox(config, new ToldState(firstState(options, stateDirectory), this.paths.state));
    const newcomers = new Newcomers(config, options.logFds);
    const watch = new RootWatch(sandbox, newcomers, (exit, ranMs) => this.#starter.ended(exit, ranMs));
    this.#sandbox = sandbox;
    this.#newcomers = newcomers;
    this.#watch = watch;
    this.#freezer = new Freezer(sandbox, watch);
    this.#admission = new Admission(sandbox, watch);
    const kill = (): void => this.#termination.kill();
    const onOver = (exit: Exit): Promise<void> => this.#takeDown.finish(exit);
    this.#starter = new RootStarter({ sandbox, newcomers, watch, followsPolicy, onOver, kill });
    this.#kept = new KeptDescriptors(sandbox);
    const quieten = (): Promise<void> => this.#quieten();
    const close = (): void => this.#close();
    this.#takeDown = new TakeDown(sandbox, { ...options, stateDirectory }, { quieten, close });
    this.#termination = new Termination(sandbox, this.#starter, this.#freezer, this.#takeDown);
  }

  get state(): SandboxState {
    return this.#sandbox.state;
  }

  /** Resolves when the sandbox has exited. */
  get finished(): Promise<Exit> {
    return this.#takeDown.finished;
  }

  /** Called after each transition. @returns what ends it. */
  onState(listener: (state: SandboxState) => void): () => void {
    return this.#sandbox.told.onState(listener);
  }

  #become(changes: Partial<SandboxState>): void {
    this.#sandbox.told.become(changes);
  }

  /**
   * Takes the sandbox's directory. On success it is this jailor's until the sandbox has exited.
   *
   * @throws ComicranError sandbox.exists
   */
  async claim(): Promise<void> {
    await this.#takeDown.claim();
  }

  /**
   * Makes the sandbox; afterwards its phase is that of the plan: `running`, `created`, or `ready` for a skeleton. On failure
   * nothing is left of it, its directory included.
   *
   * @param open opens what lies in the directory, before anything is made.
   */
  async start(open: () => Promise<void> = async () => undefined): Promise<void> {
    assert(this.#takeDown.isClaimed, 'the sandbox has been claimed');
    const { config, plan, stateDirectory, logFds, keepDirectory } = this.#options;
    try {
      // Only a daemon that comes back reads it: a sandbox in the foreground is nobody else's business.
      if (keepDirectory) writeWhole(this.paths.config, `${JSON.stringify(config, undefined, 2)}\n`);
      this.#become({});
      await open();
      const construction = await applyPlan(config.id, plan, {
        storeDirectory: storeDirectory(stateDirectory),
        ...(logFds === undefined ? {} : { logFds }),
        say: (text) => process.stderr.write(`comicran jailor: ${config.id}: ${text}\n`),
        // From here on the directory is jailor's to remove, and whoever finds a dead jailor must know.
        after: ({ kind }, { root }) => kind === 'make-root' && this.#become({ root: root ?? null }),
      });
      this.#begin(construction);
    } catch (thrown) {
      this.#takeDown.forget();
      throw thrown;
    }
  }

  #begin(construction: Construction): void {
    const sandbox = this.#sandbox;
    sandbox.construction = construction;
    const { process: root, hatchery } = construction;
    const strangers = reapStrangers((pid) => this.#newcomers.pids.has(pid) || construction.hasChild(pid));
    this.#strangers = strangers;
    void this.finished.then(() => strangers.stop());
    this.#become(madeState(construction, this.#options.created === true));
    if (root !== undefined) this.#watch.begin(root);
    // Whoever needs it hears of a failure.
    this.#newcomers.load().catch(() => undefined);
    // Asked to end while the sandbox was being made.
    if (sandbox.requested !== undefined) this.#termination.kill();
    void hatchery?.ended.then(() => {
      if (this.state.hatchery === null) return;
      return this.#takeDown.finish(exitOf(sandbox.requested ?? 'hatchery-lost', undefined));
    });
  }

  async #quieten(): Promise<void> {
    this.#starter.cancel();
    await this.#watch.pauseLooks();
    this.#strangers?.hurry();
  }

  #close(): void {
    this.#kept.closeAll();
    this.#newcomers.close();
  }

  /** Created: starts the root process. @throws as {@link RootStarter.startFirst} */
  async run(): Promise<SandboxState> {
    await this.#starter.startFirst();
    return this.state;
  }

  /**
   * Skeleton: makes a restored process, which the hatchery has made a child of jailor, the root process, and ends the
   * hatchery. The process may be stopped.
   *
   * @throws ComicranError sandbox.not-running, process.gone
   */
  adopt(hostPid: number): SandboxState {
    const { construction, isEnding } = this.#sandbox;
    if (this.state.phase !== 'ready' || construction === undefined || isEnding)
      throw this.#sandbox.notRunning('given a process');
    checkAdoptable(hostPid, defined(this.state.init, 'the init').pid);
    const child = adoptedChild(hostPid);
    construction.process = child;
    construction.cleanup.defer('end the root process', () => killed(child));
    this.#become({ phase: 'running', process: processState(child), hatchery: null });
    construction.hatchery?.kill('SIGKILL');
    this.#watch.begin(child);
    return this.state;
  }

  /**
   * @param whom `group`: every process of the process group that the root process leads, as a terminal does it.
   * @throws ComicranError sandbox.not-running
   */
  signal(signal: NodeJS.Signals, whom: 'process' | 'group' = 'process'): void {
    const { root } = this.#sandbox;
    if (root === undefined) throw this.#sandbox.notRunning('signalled');
    root.kill(signal, whom);
  }

  /** As {@link Termination.terminate}. */
  terminate(signal: NodeJS.Signals, graceMs: number): Promise<Exit> {
    return this.#termination.terminate(signal, graceMs);
  }

  /** As {@link Termination.release}. */
  release(): Promise<Exit> {
    return this.#termination.release();
  }

  /** As {@link Freezer.freeze}. */
  async freeze(): Promise<SandboxState> {
    await this.#freezer.freeze();
    return this.state;
  }

  /** As {@link Freezer.thaw}. */
  thaw(): SandboxState {
    this.#freezer.thaw();
    return this.state;
  }

  /** As {@link Admission.setMoving}. */
  async setMoving(moving: boolean): Promise<SandboxState> {
    await this.#admission.setMoving(moving);
    return this.state;
  }

  /** As {@link Admission.admitGuest}. */
  admitGuest(): () => void {
    return this.#admission.admitGuest();
  }

  /** As {@link KeptDescriptors.keep}. */
  keep(name: string, pid: number, descriptor: number): SandboxState {
    this.#kept.keep(name, pid, descriptor);
    return this.state;
  }

  /** As {@link KeptDescriptors.drop}. */
  drop(name: string): SandboxState {
    this.#kept.drop(name);
    return this.state;
  }
}
