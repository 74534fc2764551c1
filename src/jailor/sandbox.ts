/** The sandbox that a supervisor looks after, as the parts of the supervisor share it. */
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { thawCgroup } from '../linux/cgroup.ts';
import type { Child } from './child.ts';
import type { Construction } from './construction.ts';
import { notRunning } from './permission.ts';
import type { ExitReason, SandboxState } from './state.ts';
import type { ToldState } from './told-state.ts';

export class Sandbox {
  readonly config: FullConfig;
  readonly told: ToldState;
  /** What it is made of; undefined until it has been made. */
  construction: Construction | undefined;
  /** Why somebody wants it to end; undefined: nobody does. */
  requested: ExitReason | undefined;
  /** It is being taken down, or has been: nothing may come into it any more. */
  isEnding = false;

  constructor(config: FullConfig, told: ToldState) {
    this.config = config;
    this.told = told;
  }

  get state(): SandboxState {
    return this.told.now;
  }

  /** The root process while it runs. */
  get root(): Child | undefined {
    return this.state.phase === 'running' ? this.construction?.process : undefined;
  }

  /** Lets what is in its cgroup run. Nothing happens where there is no cgroup, or nothing is frozen. */
  thawProcesses(): void {
    const { cgroup } = this.state;
    if (cgroup !== null) thawCgroup(cgroup);
  }

  /** @param what `moved`, `frozen`… */
  notRunning(what: string): ComicranError {
    return notRunning(this.state, what);
  }

  /** @throws ComicranError sandbox.not-running */
  checkNotEnding(what: string): void {
    if (!this.isEnding) return;
    throw new ComicranError('sandbox.not-running', `the sandbox ${this.state.id} is ending and cannot be ${what}`);
  }
}
