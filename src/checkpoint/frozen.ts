/** A process whose threads are all stopped. */
import { assert } from '../base/assert.ts';
import type { PageSpan } from '../linux/pagemap.ts';
import { signalProcess } from '../linux/pidfd.ts';
import * as ptrace from '../linux/ptrace.ts';
import { SIGNAL } from '../linux/signals.ts';
import { beNormal } from '../linux/urgency.ts';
import { reapThreads, waitThread } from '../linux/wait.ts';
import { type FrozenThread, releaseThreads } from './freeze.ts';
import type { SourceTools } from './source.ts';

/** A run of pages, in bytes. */
export type PageRange = { readonly start: bigint; readonly length: number };

export function pageRanges(spans: readonly PageSpan[]): PageRange[] {
  return spans.map(({ start, end }) => ({ start, length: Number(end - start) }));
}

const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;

/** Exactly one of resume, kill is called in the end. Until holdStopped, the stop ends with this program. */
export class FrozenSource {
  readonly #tools: SourceTools;
  readonly #threads: readonly FrozenThread[];
  #image: Uint8Array = Buffer.alloc(0);
  #pages: readonly PageRange[] = [];
  #ownPages: readonly PageRange[] = [];
  #held = false;
  #over = false;

  constructor(tools: SourceTools, threads: readonly FrozenThread[]) {
    this.#tools = tools;
    this.#threads = threads;
  }

  setImage(
    image: Uint8Array,
    { pages, ownPages }: { readonly pages: readonly PageRange[]; readonly ownPages: readonly PageRange[] },
  ): void {
    this.#image = image;
    this.#pages = pages;
    this.#ownPages = ownPages;
  }

  /** The process image, without page contents. */
  get image(): Uint8Array {
    return this.#image;
  }

  /** Pages with contents that the destination cannot get from files: ascending, not overlapping. */
  get pages(): readonly PageRange[] {
    return this.#pages;
  }

  /** As `pages`; with memory that was copied beforehand also those that were: a copy may have others, which are gone. */
  get ownPages(): readonly PageRange[] {
    return this.#ownPages;
  }

  /** For how long it has been stopped: since the first thread was interrupted. */
  get stoppedMicros(): number {
    return Number(process.hrtime.bigint()) / 1000 - this.#tools.process.interruptedAtMicros;
  }

  /** Whether it has been resumed or killed. */
  get isOver(): boolean {
    return this.#over;
  }

  /** Fills `into` with the memory of `ranges`, one behind another; `into` is as long as all of them together. */
  readPages(ranges: readonly PageRange[], into: Uint8Array): void {
    assert(!this.#over, 'a process that runs again is not read');
    this.#tools.process.memory.readRanges(ranges, into);
  }

  /** Makes the stop outlive this program: whenever the threads are let go, for whatever reason, they stop at once. */
  holdStopped(): void {
    if (this.#held) return;
    signalProcess(this.#tools.pidfd, SIGNAL.STOP);
    this.#held = true;
  }

  /** Lets the process run on. It has noticed nothing. */
  resume(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#held) this.#takeStopBack();
    releaseThreads(this.#tools.process, this.#threads);
    beNormal(this.#tools.facts.scheduling);
  }

  /** Ends the process. */
  kill(): void {
    if (this.#over) return;
    this.#over = true;
    signalProcess(this.#tools.pidfd, SIGNAL.KILL);
    reapThreads(this.#threads.map(({ thread }) => thread.tid).toReversed());
    beNormal(this.#tools.facts.scheduling);
  }

  /** The waiting SIGSTOP is taken by the main thread, and suppressed there. No SIGCONT, which programs can notice. */
  #takeStopBack(): void {
    const { thread } = this.#threads[0]!;
    // The other signals that wait are not to be delivered before all threads run.
    ptrace.setSignalMask(thread.tid, ALL_SIGNALS);
    try {
      ptrace.resume(thread.tid);
      waitThread(thread.tid);
    } finally {
      thread.restore();
      ptrace.setSignalMask(thread.tid, thread.signalMask);
    }
  }
}
