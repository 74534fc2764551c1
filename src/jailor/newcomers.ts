/** What jailor starts in a sandbox that is there: its root process once more, and looks at its health. */
import { closeSync, openSync } from 'node:fs';
import { defined } from '../base/assert.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import type { Child } from './child.ts';
import type { World } from './construction.ts';
import type { Program } from './health-looks.ts';
import { privilegesOf } from './privileges.ts';
import type { StdioFds } from './programs.ts';
import type { StartedInside } from './start-inside.ts';
import type { SandboxState } from './state.ts';

export class Newcomers {
  readonly #config: FullConfig;
  readonly #logFds: World['logFds'];
  readonly #pids = new Set<number>();
  #nullFd: number | undefined;
  #inside: Promise<typeof import('./start-inside.ts')> | undefined;

  /** @param logFds of the root process; absent: its streams are those of this program. They stay the caller's. */
  constructor(config: FullConfig, logFds: World['logFds']) {
    this.#config = config;
    this.#logFds = logFds;
  }

  /**
   * Loads what starts them. Not needed for the sandbox itself, and not to be put off until it is: the program on the disk may
   * be another version by then.
   */
  load(): Promise<typeof import('./start-inside.ts')> {
    this.#inside ??= import('./start-inside.ts');
    return this.#inside;
  }

  /** Those that live, as this program sees them. */
  get pids(): ReadonlySet<number> {
    return this.#pids;
  }

  startRoot(place: SandboxState): Promise<StartedInside> {
    const logFds = this.#logFds;
    const stdio: StdioFds = logFds === undefined ? [0, 1, 2] : [this.#null(), logFds.stdout, logFds.stderr];
    return this.#start(place, this.#config.process, stdio);
  }

  async startProbe(place: SandboxState, program: Program): Promise<Child> {
    const nothing = this.#null();
    const spec = { ...this.#config.process, ...program };
    return (await this.#start(place, spec, [nothing, nothing, nothing])).child;
  }

  async #start(
    { init, cgroup, ids }: SandboxState,
    program: FullConfig['process'],
    stdio: StdioFds,
  ): Promise<StartedInside> {
    const { startInside } = await this.load();
    const place = { initPid: defined(init, 'the init').pid, cgroup: defined(cgroup, 'the cgroup'), ids, stdio };
    const known = (child: Child): void => {
      this.#pids.add(child.hostPid);
      void child.ended.then(() => this.#pids.delete(child.hostPid));
    };
    return startInside({ ...place, known }, program, privilegesOf(this.#config));
  }

  #null(): number {
    this.#nullFd ??= openSync('/dev/null', 'r+');
    return this.#nullFd;
  }

  close(): void {
    if (this.#nullFd !== undefined) closeSync(this.#nullFd);
    this.#nullFd = undefined;
  }
}
