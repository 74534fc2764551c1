/**
 * One sandbox from beginning to end. The transitions are drawn in state.ts; each is written to the state file before
 * anybody is told.
 */
import { existsSync, readlinkSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { assert, defined } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { thawCgroup } from '../linux/cgroup.ts';
import { outOfMemoryKills } from '../linux/cgroup-limits.ts';
import { closeDescriptor, getDescriptor } from '../linux/pidfd.ts';
import { identifyProcess, namespacePids, parentPid } from '../linux/process-identity.ts';
import { applyPlan } from './apply.ts';
import { adoptedChild, type Child, type Ending, killed, reapStrangers } from './child.ts';
import type { Construction, World } from './construction.ts';
import { idMapsOf } from './ids.ts';
import { type DirectoryLock, lockDirectory } from './lock.ts';
import { linkName, type SandboxPaths, sandboxPaths, storeDirectory, tagOf } from './naming.ts';
import type { Operation } from './operations.ts';
import {
  type Exit,
  type ExitReason,
  exitOf,
  type ProcessState,
  type SandboxState,
  writeState,
  writeWhole,
} from './state.ts';

export type SupervisorOptions = {
  readonly stateDirectory: string;
  readonly config: FullConfig;
  readonly plan: readonly Operation[];
  readonly logFds?: World['logFds'];
  /** Inodes of the pipes behind logFds. */
  readonly stdio?: SandboxState['stdio'];
  /** True: configuration, state file and log lie in the directory to be read, also when the sandbox has exited. */
  readonly keepDirectory: boolean;
  /** Called when the sandbox has been taken down and before it counts as exited: its directory is still this jailor's. */
  readonly onTakenDown?: () => Promise<void>;
};

export class Supervisor {
  readonly paths: SandboxPaths;
  /** Resolves when the sandbox has exited. */
  readonly finished: Promise<Exit>;
  readonly #options: SupervisorOptions;
  readonly #listeners = new Set<(state: SandboxState) => void>();
  readonly #resolveFinished: (exit: Exit) => void;
  #state: SandboxState;
  #lock: DirectoryLock | undefined;
  #construction: Construction | undefined;
  #requested: ExitReason | undefined;
  #finishing = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    const stateDirectory = resolve(options.stateDirectory);
    const { id, network } = options.config;
    this.paths = sandboxPaths(stateDirectory, id);
    const { promise, resolve: resolveFinished } = Promise.withResolvers<Exit>();
    this.finished = promise;
    this.#resolveFinished = resolveFinished;
    const tag = tagOf(stateDirectory, id);
    this.#state = {
      version: 1,
      id,
      phase: 'starting',
      tag,
      address: network.address,
      startedAtMs: Date.now(),
      jailor: defined(identifyProcess(process.pid), 'this process'),
      link: linkName(tag),
      root: null,
      files: null,
      cgroup: null,
      ids: idMapsOf(options.config),
      init: null,
      netns: null,
      hatchery: null,
      process: null,
      stdio: options.stdio ?? null,
      exit: null,
      kept: [],
    };
  }

  get state(): SandboxState {
    return this.#state;
  }

  /** Called after each transition. */
  onState(listener: (state: SandboxState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #become(changes: Partial<SandboxState>): void {
    this.#state = { ...this.#state, ...changes };
    writeState(this.paths.state, this.#state);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.#state);
  }

  /**
   * Takes the sandbox's directory. On success it is this jailor's until the sandbox has exited.
   *
   * @throws ComicranError sandbox.exists
   */
  async claim(): Promise<void> {
    const { id } = this.#state;
    this.#lock = lockDirectory(this.paths.directory);
    if (this.#lock === undefined) {
      throw new ComicranError('sandbox.exists', `the sandbox ${id} is there already (${this.paths.directory})`, {
        hint: 'Terminate it first, or give this one another id.',
      });
    }
    if (!existsSync(this.paths.state)) return;
    // Only now: a first start needs none of it.
    const { removeLeftovers } = await import('./clean.ts');
    await removeLeftovers(this.#options.stateDirectory, id);
    const { state, controlSocket, log } = this.paths;
    for (const path of [state, controlSocket, log, `${log}.1`]) rmSync(path, { force: true });
  }

  /**
   * Makes the sandbox; afterwards its phase is `running`, or `ready` for a skeleton. On failure nothing is left of it, its
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
    const stopReaping = reapStrangers((pid) =>
      [construction.zygote, construction.init, construction.hatchery, construction.process].some(
        (child) => child?.hostPid === pid,
      ),
    );
    void this.finished.then(stopReaping);
    const init = processState(defined(construction.init, 'the init'));
    this.#become({
      phase: root === undefined ? 'ready' : 'running',
      files: construction.rootFiles ?? null,
      cgroup: cgroup ?? null,
      init,
      netns: `/proc/${init.pid}/ns/net`,
      hatchery: hatchery === undefined ? null : processState(hatchery),
      process: root === undefined ? null : processState(root),
    });
    if (root !== undefined) this.#finishAfter(root);
    // Asked to end while the sandbox was being made.
    if (this.#requested !== undefined) this.#kill();
    void hatchery?.ended.then(() => {
      if (this.#state.phase === 'ready') return this.#finish(this.#requested ?? 'hatchery-lost', undefined);
    });
  }

  #finishAfter(root: Child): void {
    void root.ended.then((ending) => this.#finish(this.#requested ?? this.#reasonOf(ending), ending));
  }

  /** As long as the cgroup is there. A process of the sandbox other than the root process may have been killed before. */
  #reasonOf({ signal }: Ending): ExitReason {
    const killed = signal === 'SIGKILL' && outOfMemoryKills(this.#state.cgroup?.paths ?? []) > 0;
    return killed ? 'out-of-memory' : 'ended';
  }

  /**
   * Takes everything down, once. When anybody hears that the sandbox has exited, its id, its address and its directory are
   * free again.
   */
  async #finish(reason: ExitReason, ending: Ending | undefined): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    const failures = (await this.#construction?.cleanup.run()) ?? [];
    for (const failure of failures) process.stderr.write(`comicran jailor: ${messageOf(failure)}\n`);
    await this.#options.onTakenDown?.();
    const exit = exitOf(reason, ending);
    this.#closeKept();
    const gone = { kept: [], root: null, cgroup: null, init: null, netns: null, hatchery: null, process: null };
    this.#state = { ...this.#state, ...gone, phase: 'exited', exit };
    if (this.#options.keepDirectory) {
      writeState(this.paths.state, this.#state);
      this.#lock?.release();
    } else this.#forget();
    this.#tell();
    this.#resolveFinished(exit);
  }

  #root(): Child | undefined {
    return this.#state.phase === 'running' ? this.#construction?.process : undefined;
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
    const { cgroup } = this.#state;
    if (cgroup !== null) thawCgroup(cgroup);
    const construction = this.#construction;
    (this.#root() ?? construction?.hatchery)?.kill('SIGKILL');
  }

  /**
   * Skeleton: makes a restored process, which the hatchery has made a child of jailor, the root process, and ends the
   * hatchery. The process may be stopped.
   *
   * @throws ComicranError sandbox.not-running, process.gone
   */
  adopt(hostPid: number): SandboxState {
    const construction = this.#construction;
    if (this.#state.phase !== 'ready' || construction === undefined || this.#finishing) {
      throw this.#notRunning('given a process');
    }
    this.#checkAdoptable(hostPid);
    const child = adoptedChild(hostPid);
    construction.process = child;
    construction.cleanup.defer('end the root process', () => killed(child));
    this.#become({ phase: 'running', process: processState(child), hatchery: null });
    construction.hatchery?.kill('SIGKILL');
    this.#finishAfter(child);
    return this.#state;
  }

  #checkAdoptable(hostPid: number): void {
    const init = defined(this.#state.init, 'the init');
    const problem = ((): string | undefined => {
      const parent = parentPid(hostPid);
      if (parent === undefined) return 'there is no such process';
      if (parent !== process.pid) return `its parent is ${parent}, not jailor (${process.pid})`;
      const same = readlinkSync(`/proc/${hostPid}/ns/pid`) === readlinkSync(`/proc/${init.pid}/ns/pid`);
      return same ? undefined : 'it is not in the sandbox';
    })();
    if (problem === undefined) return;
    throw new ComicranError('process.gone', `process ${hostPid} cannot become the root process: ${problem}`);
  }

  /**
   * Keeps a copy of a descriptor of another process, under a name, for as long as the sandbox lives or until it is dropped.
   *
   * @throws ComicranError process.gone: there is no such process or descriptor
   */
  keep(name: string, pid: number, descriptor: number): SandboxState {
    if (this.#finishing) throw this.#notRunning('asked to keep anything');
    const copy = copyDescriptor(pid, descriptor);
    const others = this.#dropped(name);
    this.#become({ kept: [...others, { name, descriptor: copy }] });
    return this.#state;
  }

  /** Closes what is kept under a name; nothing happens where nothing is. */
  drop(name: string): SandboxState {
    if (this.#state.kept.some((kept) => kept.name === name)) this.#become({ kept: this.#dropped(name) });
    return this.#state;
  }

  /** Closes it. @returns what else is kept. */
  #dropped(name: string): SandboxState['kept'] {
    for (const kept of this.#state.kept) if (kept.name === name) closeDescriptor(kept.descriptor);
    return this.#state.kept.filter((kept) => kept.name !== name);
  }

  #closeKept(): void {
    for (const { descriptor } of this.#state.kept) closeDescriptor(descriptor);
  }

  #notRunning(what: string): ComicranError {
    return new ComicranError(
      'sandbox.not-running',
      `the sandbox ${this.#state.id} is ${this.#state.phase} and cannot be ${what}`,
    );
  }

  #forget(): void {
    rmSync(this.paths.directory, { recursive: true, force: true });
    this.#lock?.release();
  }
}

function copyDescriptor(pid: number, descriptor: number): number {
  try {
    return getDescriptor(pid, descriptor);
  } catch (cause) {
    throw new ComicranError('process.gone', `descriptor ${descriptor} of process ${pid} cannot be had`, { cause });
  }
}

function processState(child: Child): ProcessState {
  const identity = identifyProcess(child.hostPid) ?? { pid: child.hostPid, startTicks: 0 };
  return { ...identity, innerPid: namespacePids(child.hostPid).at(-1) ?? 0 };
}
