/** The process that is being built here, as the role of the destination knows it. */
import { KernelError } from '../../linux/errno.ts';
import { ProcessWatch } from '../../linux/process-watch.ts';
import type { PageRange, RestoringProcess } from '../../migration/ports.ts';
import { explainKernelError, hasEnded } from '../../restore/failures.ts';
import type { RestoringProcess as Restoring } from '../../restore/restoring.ts';
import type { Readiness } from '../readiness.ts';
import { endProcess } from './end-process.ts';

type Options = {
  readonly built: Restoring;
  readonly turn: Readiness;
  /** Of pages that come later; undefined where all have come. */
  readonly missingBytes: () => bigint | undefined;
  readonly onFinished: () => void;
  readonly onDestroyed: () => Promise<void> | undefined;
};

export class ArrivingProcess implements RestoringProcess {
  /** The caller closes it. */
  readonly watch: ProcessWatch;
  readonly #options: Options;
  /** Runs, and may still be ended. */
  #isSilent = false;

  constructor(options: Options) {
    this.#options = options;
    this.watch = new ProcessWatch(options.built.pid);
  }

  writePages(ranges: readonly PageRange[], bytes: Uint8Array): void | Promise<void> {
    const { built, turn } = this.#options;
    built.writePages(ranges, bytes);
    // A gigabyte that has been kept is written in one go: what comes meanwhile is to be read all the same.
    return turn.turnDue ? turn.turn() : undefined;
  }

  async finish(): Promise<void> {
    const { built, missingBytes, onFinished } = this.#options;
    built.finish(missingBytes());
    onFinished();
  }

  confirm(): void {
    const end = this.watch.ended();
    if (end !== undefined) throw hasEnded(this.#isSilent ? 'the copy' : 'the process that was to run', end);
  }

  rehearse(): void {
    this.#letRun();
    this.#isSilent = true;
  }

  run(): void {
    // A copy runs already, and was seen to live when it was let out.
    if (!this.#isSilent) this.#letRun();
  }

  /** A signal is taken for one that has ended and that its parent has not looked at yet. */
  #letRun(): void {
    this.confirm();
    try {
      this.#options.built.run();
    } catch (thrown) {
      throw thrown instanceof KernelError ? explainKernelError('the process cannot be let run', thrown) : thrown;
    }
  }

  async destroy(): Promise<void> {
    const { built, onDestroyed } = this.#options;
    if (!this.#isSilent) built.destroy();
    // Its PID may be another one's by now.
    else if (this.watch.ended() === undefined) await endProcess(this.watch.pid);
    await onDestroyed();
  }
}
