/** A process that is stopped by SIGSTOP, which outlives whoever sent it. */
import { ComicranError } from '../../base/errors.ts';
import { continueQuietly } from '../../linux/continue.ts';
import { sendSignal } from '../../linux/pidfd.ts';
import { identifyProcess, isAlive } from '../../linux/process-identity.ts';
import { listThreads, readStatus } from '../../linux/procfs.ts';
import { SIGNAL } from '../../linux/signals.ts';
import type { StoppedProcess } from '../../migration/ports.ts';

const STOP_DEADLINE_MS = 500;

export class StoppedBySignal implements StoppedProcess {
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
  }

  stop(): void {
    sendSignal(this.#pid, SIGNAL.STOP);
    const until = performance.now() + STOP_DEADLINE_MS;
    while (!this.#isStopped()) {
      if (performance.now() > until) throw new ComicranError('deadline', `process ${this.#pid} does not stop`);
    }
  }

  #isStopped(): boolean {
    return listThreads(this.#pid).every((tid) => readStatus(this.#pid, tid).text('State').startsWith('T'));
  }

  resume(): void {
    continueQuietly(this.#pid);
  }

  async kill(): Promise<void> {
    const identity = identifyProcess(this.#pid);
    if (identity === undefined) return;
    sendSignal(this.#pid, SIGNAL.KILL);
    while (isAlive(identity)) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
