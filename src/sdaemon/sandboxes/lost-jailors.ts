/**
 * Sandboxes whose jailor was killed. What was in one has gone with it, and so has the one who follows its restart policy:
 * that is this daemon's then, until there is a jailor again.
 *
 *     jailor lost ──► waiting ──► start ──► running
 *          │             ▲          │
 *          │             └──────────┤ failed: like one more end at once
 *          └──► ended ◄─────────────┘ the policy does not want it, or gives up
 *
 * The sandbox is `stopped` while it waits, and still this machine's at the sdn.
 */
import type { FullConfig } from '../../base/sandbox-config.ts';
import { nextStart } from '../../jailor/restart-policy.ts';
import type { Exit, SandboxState } from '../../jailor/state.ts';

export type LostSandbox = { readonly config: FullConfig; readonly last: SandboxState; readonly exit: Exit };

export type LostWorld = {
  /** Starts it again, counted as the restart of this number. @throws whatever a start throws */
  readonly start: (lost: LostSandbox, restarts: number) => Promise<void>;
  /** It will not be started again. Does not reject. */
  readonly end: (lost: LostSandbox, why: string) => Promise<void>;
  /** Unix time. */
  readonly now: () => number;
  /** Aborted when the daemon ends. */
  readonly stopping: AbortSignal;
};

export class LostJailors {
  readonly #world: LostWorld;
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  /** Those that were lost soon after a start, so often one after the other. */
  readonly #inRow = new Map<string, number>();

  constructor(world: LostWorld) {
    this.#world = world;
  }

  /** @returns true: the policy has it started again, soon; false: it has ended. */
  startLater(lost: LostSandbox): boolean {
    const { restarts, startedAtMs } = lost.last;
    const ranMs = this.#world.now() - (restarts.startedAtMs ?? startedAtMs);
    return this.#startLater(lost, restarts.count + 1, ranMs);
  }

  #startLater(lost: LostSandbox, restarts: number, ranMs: number): boolean {
    const { id, restart } = lost.config;
    const next = nextStart(restart, { inRow: this.#inRow.get(id) ?? 0 }, lost.exit, ranMs);
    if (next.kind === 'end') {
      this.#inRow.delete(id);
      return false;
    }
    this.#inRow.set(id, next.inRow);
    const timer = setTimeout(() => void this.#start(lost, restarts), next.delayMs);
    // A daemon that is told to end does not wait for it; the next one finds the sandbox lost.
    timer.unref();
    this.#waiting.set(id, timer);
    return true;
  }

  async #start(lost: LostSandbox, restarts: number): Promise<void> {
    const { start, end, stopping } = this.#world;
    this.#waiting.delete(lost.config.id);
    if (stopping.aborted) return;
    try {
      await start(lost, restarts);
    } catch (thrown) {
      if (!this.#startLater(lost, restarts + 1, 0)) await end(lost, String(thrown));
    }
  }

  /** Somebody else decides about it now. @returns whether it waited for its start. */
  cancel(id: string): boolean {
    const timer = this.#waiting.get(id);
    clearTimeout(timer);
    this.#inRow.delete(id);
    return this.#waiting.delete(id);
  }
}
