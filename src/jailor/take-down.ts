/** A sandbox's directory from when it is claimed, and everything else that is its until it has been taken down. */
import { rmSync } from 'node:fs';
import { messageOf } from '../base/errors.ts';
import { claimDirectory } from './claim.ts';
import type { DirectoryLock } from './lock.ts';
import { sandboxPaths } from './naming.ts';
import type { Sandbox } from './sandbox.ts';
import type { Exit } from './state.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

type Options = Pick<SupervisorOptions, 'stateDirectory' | 'keepDirectory' | 'onTakenDown'>;

/** What the rest of the supervisor does meanwhile. */
type Steps = {
  /** First. When it resolves nothing looks at the sandbox any more, and nothing is about to be started in it. */
  readonly quieten: () => Promise<void>;
  /** When the sandbox's processes and kernel objects are gone: closes the descriptors that were for them. */
  readonly close: () => void;
};

export class TakeDown {
  /** Resolves when the sandbox has exited. */
  readonly finished: Promise<Exit>;
  readonly #sandbox: Sandbox;
  readonly #options: Options;
  readonly #steps: Steps;
  readonly #resolveFinished: (exit: Exit) => void;
  #lock: DirectoryLock | undefined;

  constructor(sandbox: Sandbox, options: Options, steps: Steps) {
    this.#sandbox = sandbox;
    this.#options = options;
    this.#steps = steps;
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.finished = promise;
    this.#resolveFinished = resolve;
  }

  get isClaimed(): boolean {
    return this.#lock !== undefined;
  }

  /** @throws ComicranError sandbox.exists */
  async claim(): Promise<void> {
    this.#lock = await claimDirectory(this.#options.stateDirectory, this.#sandbox.state.id);
  }

  /**
   * Takes everything down, once. When anybody hears that the sandbox has exited, its id, its address and its directory are
   * free again. What cannot be taken down is named on standard error, and the rest is taken down nevertheless.
   */
  async finish(exit: Exit): Promise<void> {
    const sandbox = this.#sandbox;
    const { told } = sandbox;
    if (sandbox.isEnding) return;
    sandbox.isEnding = true;
    await this.#steps.quieten();
    const failures = (await sandbox.construction?.cleanup.run()) ?? [];
    for (const failure of failures) process.stderr.write(`comicran jailor: ${messageOf(failure)}\n`);
    await this.#options.onTakenDown?.();
    this.#steps.close();
    const gone = { kept: [], root: null, cgroup: null, init: null, netns: null, hatchery: null, process: null };
    const still = { frozen: false, moving: false, health: null, guests: 0 };
    const restarts = { ...sandbox.state.restarts, nextAtMs: null };
    told.note({ ...gone, ...still, restarts, phase: 'exited', exit });
    if (this.#options.keepDirectory) {
      told.write();
      this.#lock?.release();
    } else this.forget();
    told.tell();
    this.#resolveFinished(exit);
  }

  /** Nothing of the directory is left, and whoever wants it may have it. */
  forget(): void {
    const { directory } = sandboxPaths(this.#options.stateDirectory, this.#sandbox.state.id);
    rmSync(directory, { recursive: true, force: true });
    this.#lock?.release();
  }
}
