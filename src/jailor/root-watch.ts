/** Watches the root process: its health while it runs, and why it has ended. */
import { outOfMemoryKills } from '../linux/cgroup-limits.ts';
import type { Child, Ending } from './child.ts';
import { HealthWatch } from './health.ts';
import { lookOf } from './health-looks.ts';
import type { Newcomers } from './newcomers.ts';
import type { Sandbox } from './sandbox.ts';
import { type Exit, type ExitReason, exitOf, type Health } from './state.ts';

export class RootWatch {
  readonly #sandbox: Sandbox;
  readonly #onEnded: (exit: Exit, ranMs: number) => Promise<void>;
  /** Undefined: the configuration does not say how to find it out. */
  readonly #health: HealthWatch | undefined;
  /** It is being ended because of its health. */
  #isIll = false;
  /** Of its cgroup, which was made for this sandbox, when the root process before this one had ended. */
  #killsBefore = 0;

  /** @param onEnded called once for each process that {@link begin} was given. */
  constructor(sandbox: Sandbox, newcomers: Newcomers, onEnded: (exit: Exit, ranMs: number) => Promise<void>) {
    this.#sandbox = sandbox;
    this.#onEnded = onEnded;
    const { health, network } = sandbox.config;
    if (health === undefined) return;
    const look = lookOf(health, network.address, (program) => newcomers.startProbe(sandbox.state, program));
    this.#health = new HealthWatch(health, look, (found) => this.#found(found));
  }

  /** From now on this is the root process. */
  begin(root: Child): void {
    const sinceMs = performance.now();
    void root.ended.then((ending) => {
      const exit = exitOf(this.#sandbox.requested ?? this.#reasonOf(ending), ending);
      return this.#onEnded(exit, performance.now() - sinceMs);
    });
    this.#health?.begin();
  }

  /** Its health is not looked at until {@link resumeLooks} or {@link begin}. Resolves when no look is under way. */
  async pauseLooks(): Promise<void> {
    await this.#health?.pause();
  }

  resumeLooks(): void {
    this.#health?.resume();
  }

  #found(health: Health): void {
    const { root, isEnding, told, config, state } = this.#sandbox;
    if (root === undefined || isEnding) return;
    told.become({ health });
    if (health.status !== 'unhealthy' || config.health?.restart !== true || state.moving) return;
    this.#isIll = true;
    root.kill('SIGKILL');
  }

  /** As long as the cgroup is there. A process of the sandbox other than the root process may have been killed before. */
  #reasonOf({ signal }: Ending): ExitReason {
    const isIll = this.#isIll;
    this.#isIll = false;
    const kills = this.#outOfMemoryKills();
    const isOutOfMemory = kills > this.#killsBefore;
    this.#killsBefore = kills;
    if (signal !== 'SIGKILL') return 'ended';
    return isOutOfMemory ? 'out-of-memory' : isIll ? 'unhealthy' : 'ended';
  }

  #outOfMemoryKills(): number {
    return outOfMemoryKills(this.#sandbox.state.cgroup?.paths ?? []);
  }
}
