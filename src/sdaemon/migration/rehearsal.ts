/**
 * A stop that nobody minds, right before the one that counts. What has not run for a while (the engine's code, the kernel's
 * for tracing and forking) is in none of the CPU's caches any more and takes up to twice as long the first time.
 */
import { openSource, type Source } from '../../checkpoint/source.ts';
import type { FileLooks } from '../../linux/file-digest.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';
import { SleepingProcesses } from './sleeping-processes.ts';

export class Rehearsal {
  readonly #facts: KernelFacts;
  readonly #files: FileLooks;
  readonly #processes = SleepingProcesses.start();
  #source: Source | null = null;
  #isOver = false;

  /** Starts a process to rehearse with, which ends with {@link close}. */
  constructor(facts: KernelFacts, files: FileLooks) {
    this.#facts = facts;
    this.#files = files;
  }

  /** Takes some milliseconds. A failure is nobody's business: the stop that counts takes longer then. */
  readonly run = (forks: boolean): void => {
    if (this.#isOver || this.#processes === null) return;
    try {
      this.#source ??= openSource(this.#processes.pids[0], { facts: this.#facts, files: this.#files });
      if (forks) this.#source.snapshot().close();
      else this.#source.freeze().resume();
    } catch {
      this.#isOver = true;
    }
  };

  close(): void {
    this.#isOver = true;
    this.#source?.close();
    this.#source = null;
    this.#processes?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
