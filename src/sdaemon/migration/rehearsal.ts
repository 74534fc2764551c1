/**
 * A stop that nobody minds, right before the one that counts. What has not run for a while (the engine's code, the kernel's
 * for tracing and forking) is in none of the CPU's caches any more and takes up to twice as long the first time.
 */
import { openSource } from '../../checkpoint/source.ts';
import type { FileLooks } from '../../linux/file-digest.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import { SleepingProcesses } from './sleeping-processes.ts';

/** What a rehearsal does with a process (checkpoint/source.ts). */
export type RehearsalSource = {
  freeze(): { resume(): void };
  snapshot(): { close(): void };
  close(): void;
};

export type RehearsalOptions = {
  /** Processes to rehearse with, which end with the rehearsal; null: there are none. */
  readonly processes: Pick<SleepingProcesses, 'pids' | 'close'> | null;
  /** Called at the first run. The rehearsal closes what it returns. */
  readonly open: (pid: number) => RehearsalSource;
};

export class Rehearsal {
  readonly #options: RehearsalOptions;
  #source: RehearsalSource | null = null;
  #isOver = false;

  constructor(options: RehearsalOptions) {
    this.#options = options;
  }

  /** Starts a process to rehearse with, which ends with {@link close}. */
  static start(facts: KernelFacts, files: FileLooks): Rehearsal {
    const open = (pid: number): RehearsalSource => openSource(pid, { facts, files });
    return new Rehearsal({ processes: SleepingProcesses.start(), open });
  }

  /**
   * Takes some milliseconds, and leaves the process running. A failure is nobody's business: the stop that counts takes longer
   * then, and nothing is rehearsed again. Does nothing once it has been closed.
   *
   * @param forks as the stop that counts does: it takes a snapshot.
   */
  readonly run = (forks: boolean): void => {
    const { processes, open } = this.#options;
    if (this.#isOver || processes === null) return;
    try {
      this.#source ??= open(processes.pids[0]);
      if (forks) this.#source.snapshot().close();
      else this.#source.freeze().resume();
    } catch {
      this.#isOver = true;
    }
  };

  /** May be called more than once. */
  close(): void {
    this.#isOver = true;
    this.#source?.close();
    this.#source = null;
    this.#options.processes?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
