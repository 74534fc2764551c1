/**
 * One sandbox from beginning to end. The transitions are drawn in state.ts; each is written to the state file before
 * anybody is told.
 */
import { rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { assert, defined } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { thawCgroup } from '../linux/cgroup.ts';
import { freezeCgroup } from '../linux/cgroup-frozen.ts';
import { outOfMemoryKills } from '../linux/cgroup-limits.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { checkAdoptable } from './adoptable.ts';
import { applyPlan } from './apply.ts';
import { adoptedChild, type Child, type Ending, killed, reapStrangers, type StrangerReaper } from './child.ts';
import { claimDirectory } from './claim.ts';
import type { Construction } from './construction.ts';
import { firstState } from './first-state.ts';
import { HealthWatch } from './health.ts';
import { lookOf } from './health-looks.ts';
import { copyDescriptor, withoutKept } from './kept-descriptors.ts';
import { endOthers } from './leftover-processes.ts';
import type { DirectoryLock } from './lock.ts';
import { type SandboxPaths, sandboxPaths, storeDirectory } from './naming.ts';
import { Newcomers } from './newcomers.ts';
import { checkHospitable, checkMovable, checkNotMoving, notRunning } from './permission.ts';
import { processState } from './process-state.ts';
import { type NextStart, nextStart } from './restart-policy.ts';
import { type Exit, type ExitReason, exitOf, type SandboxState, writeWhole } from './state.ts';
import type { SupervisorOptions } from './supervisor-options.ts';
import { ToldState } from './told-state.ts';

const FREEZE_TIMEOUT_MS = 5_000;

export class Supervisor {
  readonly paths: SandboxPaths;
  /** Resolves when the sandbox has exited. */
  readonly finished: Promise<Exit>;
  readonly #options: SupervisorOptions;
  readonly #told: ToldState;
  readonly #resolveFinished: (exit: Exit) => void;
  #lock: DirectoryLock | undefined;
  #construction: Construction | undefined;
  #requested: ExitReason | undefined;
  #finishing = false;
  readonly #health: HealthWatch | undefined;
  readonly #newcomers: Newcomers;
  /** Where the phase is `restarting`: what waits for its time, and what has begun. */
  #nextStart: NodeJS.Timeout | undefined;
  #starting: Promise<void> | undefined;
  /** It is being ended because of its health. */
  #isIll = false;
  #strangers: StrangerReaper | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const stateDirectory = resolve(options.stateDirectory);
    const { id, network } = options.config;
    this.paths = sandboxPaths(stateDirectory, id);
    const { promise, resolve: resolveFinished } = Promise.withResolvers<Exit>();
    this.finished = promise;
    this.#resolveFinished = resolveFinished;
    this.#told = new ToldState(firstState(options, stateDirectory), this.paths.state);
    this.#newcomers = new Newcomers(options.config, options.logFds);
    const { health } = options.config;
    if (health !== undefined) {
      const look = lookOf(health, network.address, (program) => this.#newcomers.startProbe(this.state, program));
      this.#health = new HealthWatch(health, look, (found) => this.#foundHealth(found));
    }
  }

  get state(): SandboxState {
    return this.#told.now;
  }

  /** Called after each transition. */
  onState(listener: (state: SandboxState) => void): () => void {
    return this.#told.onState(listener);
  }

  #become(changes: Partial<SandboxState>): void {
    this.#told.become(changes);
  }

  /**
   * Takes the sandbox's directory. On success it is this jailor's until the sandbox has exited.
   *
   * @throws ComicranError sandbox.exists
   */
  async claim(): Promise<void> {
    this.#lock = await claimDirectory(this.#options.stateDirectory, this.state.id);
  }

  /**
   * Makes the sandbox; afterwards its phase is that of the plan: `running`, `created`, or `ready` for a skeleton. On failure nothing is left of it, its
   * directory included.
   *
   * @param open opens what lies in the directory, before anything is made.
   */
  async start(open: () => Promise<void> = async () => undefined): Promise<void> {
    assert(this.#lock !== undefined, 'the sandbox has been claimed');
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
      this.#construction = construction;
      this.#begin(construction);
    } catch (thrown) {
      this.#forget();
      throw thrown;
    }
  }

  #begin(construction: Construction): void {
    const { process: root, hatchery, cgroup } = construction;
    const strangers = reapStrangers(
      (pid) =>
        this.#newcomers.pids.has(pid) ||
        [construction.zygote, construction.init, construction.hatchery, construction.process].some(
          (child) => child?.hostPid === pid,
        ),
    );
    this.#strangers = strangers;
    void this.finished.then(() => strangers.stop());
    const init = processState(defined(construction.init, 'the init'));
    this.#become({
      files: construction.rootFiles ?? null,
      phase: root !== undefined ? 'running' : this.#options.created === true ? 'created' : 'ready',
      cgroup: cgroup ?? null,
      init,
      netns: `/proc/${init.pid}/ns/net`,
      hatchery: hatchery === undefined ? null : processState(hatchery),
      process: root === undefined ? null : processState(root),
    });
    if (root !== undefined) this.#watch(root);
    // Whoever needs it hears of a failure.
    this.#newcomers.load().catch(() => undefined);
    // Asked to end while the sandbox was being made.
    if (this.#requested !== undefined) this.#kill();
    void hatchery?.ended.then(() => {
      if (this.state.hatchery !== null) return this.#finish(exitOf(this.#requested ?? 'hatchery-lost', undefined));
    });
  }

  /** From now on this is the root process. */
  #watch(root: Child): void {
    const sinceMs = performance.now();
    const killsBefore = this.#outOfMemoryKills();
    void root.ended.then((ending) => {
      const exit = exitOf(this.#requested ?? this.#reasonOf(ending, killsBefore), ending);
      return this.#rootEnded(exit, performance.now() - sinceMs);
    });
    this.#health?.begin();
  }

  async #rootEnded(exit: Exit, ranMs: number): Promise<void> {
    const { config, restarts: follows } = this.#options;
    const { moving, restarts } = this.state;
    const isOver = this.#requested !== undefined || moving || !follows;
    const next: NextStart = isOver ? { kind: 'end', gaveUp: false } : nextStart(config.restart, restarts, exit, ranMs);
    if (next.kind === 'start') return this.#restartLater(exit, next);
    this.#told.note({ restarts: { ...restarts, gaveUp: next.gaveUp } });
    await this.#finish(exit);
  }

  #restartLater(exit: Exit, { delayMs, inRow }: Extract<NextStart, { kind: 'start' }>): void {
    this.#thaw();
    void this.#health?.pause();
    const restarts = { ...this.state.restarts, inRow, nextAtMs: Date.now() + delayMs, last: exit };
    this.#become({ phase: 'restarting', process: null, frozen: false, health: null, restarts });
    this.#nextStart = setTimeout(() => {
      this.#starting = this.#restart(exit);
    }, delayMs);
  }

  /** Nothing of the run before is left when the next one begins, but for what it has written. */
  async #restart(before: Exit): Promise<void> {
    const { cgroup, init } = this.state;
    try {
      await endOthers(defined(cgroup, 'the cgroup'), new Set([defined(init, 'the init').pid, ...this.#newcomers.pids]));
      await this.#becomeRunning();
    } catch (thrown) {
      process.stderr.write(`comicran jailor: it could not be started again: ${messageOf(thrown)}\n`);
      this.#starting = undefined;
      const { count } = this.state.restarts;
      this.#told.note({ restarts: { ...this.state.restarts, count: count + 1 } });
      await this.#rootEnded({ ...before, reason: this.#requested ?? before.reason }, 0);
    }
  }

  /** The root process in a sandbox that is there: the first of a created one, or one more. */
  async #becomeRunning(): Promise<void> {
    const { child: root, state } = await this.#newcomers.startRoot(this.state);
    const construction = defined(this.#construction, 'a sandbox that is there');
    construction.process = root;
    const isFirst = this.state.phase === 'created';
    const { restarts } = this.state;
    const next = { ...restarts, count: restarts.count + 1, nextAtMs: null, startedAtMs: Date.now() };
    this.#starting = undefined;
    this.#become({
      phase: 'running',
      process: state,
      hatchery: null,
      ...(isFirst ? { startedAtMs: Date.now() } : { restarts: next }),
    });
    if (isFirst) construction.hatchery?.kill('SIGKILL');
    this.#watch(root);
    // Asked to end meanwhile.
    if (this.#requested !== undefined) this.#kill();
  }

  /**
   * Created: starts the root process.
   * @throws ComicranError sandbox.not-running, sandbox.setup-failed; the sandbox stays as it is then.
   */
  async run(): Promise<SandboxState> {
    if (this.state.phase !== 'created' || this.#starting !== undefined) throw this.#notRunning('started');
    const begun = this.#becomeRunning();
    this.#starting = begun.catch(() => undefined);
    try {
      await begun;
    } catch (cause) {
      this.#starting = undefined;
      if (this.#requested !== undefined) this.#kill();
      throw new ComicranError('sandbox.setup-failed', `sandbox ${this.state.id}: ${messageOf(cause)}`, { cause });
    }
    return this.state;
  }

  #foundHealth(health: SandboxState['health']): void {
    if (this.#root() === undefined || this.#finishing) return;
    this.#become({ health });
    const { config } = this.#options;
    if (health?.status !== 'unhealthy' || config.health?.restart !== true || this.state.moving) return;
    this.#isIll = true;
    this.#root()?.kill('SIGKILL');
  }

  /** Does nothing to one that has not been frozen. */
  #thaw(): void {
    const { cgroup, frozen } = this.state;
    if (frozen && cgroup !== null) thawCgroup(cgroup);
  }

  /** As long as the cgroup is there. A process of the sandbox other than the root process may have been killed before. */
  #reasonOf({ signal }: Ending, killsBefore: number): ExitReason {
    const isIll = this.#isIll;
    this.#isIll = false;
    if (signal !== 'SIGKILL') return 'ended';
    return this.#outOfMemoryKills() > killsBefore ? 'out-of-memory' : isIll ? 'unhealthy' : 'ended';
  }

  #outOfMemoryKills(): number {
    return outOfMemoryKills(this.state.cgroup?.paths ?? []);
  }

  /**
   * Takes everything down, once. When anybody hears that the sandbox has exited, its id, its address and its directory are
   * free again.
   */
  async #finish(exit: Exit): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    clearTimeout(this.#nextStart);
    await this.#health?.pause();
    this.#strangers?.hurry();
    const failures = (await this.#construction?.cleanup.run()) ?? [];
    for (const failure of failures) process.stderr.write(`comicran jailor: ${messageOf(failure)}\n`);
    await this.#options.onTakenDown?.();
    this.#closeKept();
    this.#newcomers.close();
    const gone = { kept: [], root: null, cgroup: null, init: null, netns: null, hatchery: null, process: null };
    const still = { frozen: false, moving: false, health: null, guests: 0 };
    const restarts = { ...this.state.restarts, nextAtMs: null };
    this.#told.note({ ...gone, ...still, restarts, phase: 'exited', exit });
    if (this.#options.keepDirectory) {
      this.#told.write();
      this.#lock?.release();
    } else this.#forget();
    this.#told.tell();
    this.#resolveFinished(exit);
  }

  #root(): Child | undefined {
    return this.state.phase === 'running' ? this.#construction?.process : undefined;
  }

  /**
   * @param whom `group`: every process of the process group that the root process leads, as a terminal does it.
   * @throws ComicranError sandbox.not-running
   */
  signal(signal: NodeJS.Signals, whom: 'process' | 'group' = 'process'): void {
    const root = this.#root();
    if (root === undefined) throw this.#notRunning('signalled');
    root.kill(signal, whom);
  }

  /**
   * Ends the sandbox: `signal` to the root process, SIGKILL `graceMs` later. A skeleton ends at once. Resolves when
   * everything has been taken down; a second call waits for the first.
   */
  async terminate(signal: NodeJS.Signals, graceMs: number): Promise<Exit> {
    this.#requested ??= 'terminated';
    const root = this.#root();
    if (root === undefined || graceMs <= 0) this.#kill();
    else {
      this.thaw();
      root.kill(signal);
      const timer = setTimeout(() => this.#kill(), graceMs);
      void this.finished.then(() => clearTimeout(timer));
    }
    return this.finished;
  }

  /** The process lives elsewhere now: what is left of it here ends, and nobody calls it a crash. */
  async release(): Promise<Exit> {
    this.#requested = 'released';
    this.#kill();
    return this.finished;
  }

  #kill(): void {
    const { cgroup, phase, restarts } = this.state;
    if (cgroup !== null) thawCgroup(cgroup);
    const child = this.#root() ?? (phase === 'restarting' ? undefined : this.#construction?.hatchery);
    if (this.#root() === undefined && this.#starting !== undefined) {
      // What is being started is ended as soon as it runs.
      return;
    }
    child?.kill('SIGKILL');
    if (phase === 'restarting') {
      const last = restarts.last ?? exitOf('terminated', undefined);
      void this.#finish({ ...last, reason: this.#requested ?? last.reason });
    }
  }

  /**
   * Stops every process of the sandbox until {@link thaw}, or the sandbox is told to end.
   * @throws ComicranError sandbox.not-running, migration.busy, deadline; it runs on then.
   */
  async freeze(): Promise<SandboxState> {
    if (this.state.frozen) return this.state;
    const { cgroup, id } = this.state;
    this.#checkNotEnding('frozen');
    if (this.#root() === undefined || cgroup === null) throw this.#notRunning('frozen');
    checkNotMoving(this.state);
    // At once: a migration that is asked for meanwhile finds it so.
    this.#become({ frozen: true });
    await this.#health?.pause();
    const isDone = await freezeCgroup(cgroup, FREEZE_TIMEOUT_MS).catch(() => false);
    if (isDone && this.state.frozen) return this.state;
    // It has ended meanwhile, and its successor is not to be born into a freezer.
    thawCgroup(cgroup);
    if (this.#root() === undefined) throw this.#notRunning('frozen');
    this.thaw();
    throw new ComicranError('deadline', `the sandbox ${id} could not be frozen within ${FREEZE_TIMEOUT_MS} ms`, {
      hint: 'It runs on. A process that waits for a disk cannot be frozen: try again.',
    });
  }

  /** Lets a frozen one run on; does nothing to another. */
  thaw(): SandboxState {
    if (!this.state.frozen) return this.state;
    this.#thaw();
    this.#become({ frozen: false });
    this.#health?.resume();
    return this.state;
  }

  /**
   * A migration has begun, or has ended and left the process here. In between it is not restarted, frozen or looked at, and
   * nothing is started in it.
   * @throws ComicranError migration.refused, by what it is: frozen, restarting, or with guests
   */
  async setMoving(moving: boolean): Promise<SandboxState> {
    if (!moving) {
      if (this.state.moving) {
        this.#become({ moving });
        this.#health?.resume();
      }
      return this.state;
    }
    this.#checkNotEnding('moved');
    checkMovable(this.state, Date.now());
    this.#become({ moving });
    await this.#health?.pause();
    return this.state;
  }

  /**
   * Somebody is about to start a program in it.
   * @returns what is to be called when that has ended.
   * @throws ComicranError sandbox.not-running, migration.busy
   */
  admitGuest(): () => void {
    this.#checkNotEnding('looked into');
    checkHospitable(this.state);
    this.#become({ guests: this.state.guests + 1 });
    return () => {
      if (!this.#finishing) this.#become({ guests: this.state.guests - 1 });
    };
  }

  /**
   * Skeleton: makes a restored process, which the hatchery has made a child of jailor, the root process, and ends the
   * hatchery. The process may be stopped.
   *
   * @throws ComicranError sandbox.not-running, process.gone
   */
  adopt(hostPid: number): SandboxState {
    const construction = this.#construction;
    if (this.state.phase !== 'ready' || construction === undefined || this.#finishing) {
      throw this.#notRunning('given a process');
    }
    checkAdoptable(hostPid, defined(this.state.init, 'the init').pid);
    const child = adoptedChild(hostPid);
    construction.process = child;
    construction.cleanup.defer('end the root process', () => killed(child));
    this.#become({ phase: 'running', process: processState(child), hatchery: null });
    construction.hatchery?.kill('SIGKILL');
    this.#watch(child);
    return this.state;
  }

  /**
   * Keeps a copy of a descriptor of another process, under a name, for as long as the sandbox lives or until it is dropped.
   *
   * @throws ComicranError process.gone: there is no such process or descriptor
   */
  keep(name: string, pid: number, descriptor: number): SandboxState {
    if (this.#finishing) throw this.#notRunning('asked to keep anything');
    const copy = copyDescriptor(pid, descriptor);
    const others = withoutKept(this.state.kept, name);
    this.#become({ kept: [...others, { name, descriptor: copy }] });
    return this.state;
  }

  /** Closes what is kept under a name; nothing happens where nothing is. */
  drop(name: string): SandboxState {
    const { kept } = this.state;
    if (kept.some((one) => one.name === name)) this.#become({ kept: withoutKept(kept, name) });
    return this.state;
  }

  #closeKept(): void {
    for (const { descriptor } of this.state.kept) closeDescriptor(descriptor);
  }

  #notRunning(what: string): ComicranError {
    return notRunning(this.state, what);
  }

  #checkNotEnding(what: string): void {
    const { id } = this.state;
    if (!this.#finishing) return;
    throw new ComicranError('sandbox.not-running', `the sandbox ${id} is ending and cannot be ${what}`);
  }

  #forget(): void {
    rmSync(this.paths.directory, { recursive: true, force: true });
    this.#lock?.release();
  }
}
