/** Freezes and thaws the processes of a sandbox, for an operator. */
import { ComicranError } from '../base/errors.ts';
import { freezeCgroup } from '../linux/cgroup-frozen.ts';
import { checkNotMoving } from './permission.ts';
import type { RootWatch } from './root-watch.ts';
import type { Sandbox } from './sandbox.ts';

const FREEZE_TIMEOUT_MS = 5_000;

export class Freezer {
  readonly #sandbox: Sandbox;
  readonly #watch: RootWatch;

  constructor(sandbox: Sandbox, watch: RootWatch) {
    this.#sandbox = sandbox;
    this.#watch = watch;
  }

  /**
   * Stops every process of the sandbox until {@link thaw}, or the sandbox is told to end. Does nothing to a frozen one.
   * @throws ComicranError sandbox.not-running, migration.busy, deadline; it runs on then.
   */
  async freeze(): Promise<void> {
    const sandbox = this.#sandbox;
    const { cgroup, id, frozen } = sandbox.state;
    if (frozen) return;
    sandbox.checkNotEnding('frozen');
    if (sandbox.root === undefined || cgroup === null) throw sandbox.notRunning('frozen');
    checkNotMoving(sandbox.state);
    // At once: a migration that is asked for meanwhile finds it so.
    sandbox.told.become({ frozen: true });
    await this.#watch.pauseLooks();
    const isDone = await freezeCgroup(cgroup, FREEZE_TIMEOUT_MS).catch(() => false);
    if (isDone && sandbox.state.frozen) return;
    // It has ended meanwhile, and its successor is not to be born into a freezer.
    sandbox.thawProcesses();
    if (sandbox.root === undefined) throw sandbox.notRunning('frozen');
    this.thaw();
    throw new ComicranError('deadline', `the sandbox ${id} could not be frozen within ${FREEZE_TIMEOUT_MS} ms`, {
      hint: 'It runs on. A process that waits for a disk cannot be frozen: try again.',
    });
  }

  /** Lets a frozen one run on; does nothing to another. */
  thaw(): void {
    if (!this.#sandbox.state.frozen) return;
    this.#sandbox.thawProcesses();
    this.#sandbox.told.become({ frozen: false });
    this.#watch.resumeLooks();
  }
}
