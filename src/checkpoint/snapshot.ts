/** A process as it was at one moment, while it runs on. */
import { assert, defined } from '../base/assert.ts';
import { encodeProcessImage } from '../image/codec.ts';
import type { Agent } from '../linux/agent.ts';
import { closeDescriptors, killClone, openClone } from '../linux/fork.ts';
import { PageFinder } from '../linux/pagemap.ts';
import type { TracedProcess } from '../linux/tracee.ts';
import { beNormal } from '../linux/urgency.ts';
import { type CapturedState, captureState, imageWith } from './capture.ts';
import { cloneProcess } from './clone.ts';
import { type FrozenThread, releaseThreads } from './freeze.ts';
import { type PageRange, pageRanges } from './frozen.ts';
import { findPages } from './memory.ts';
import type { SourceTools } from './source.ts';

export type SnapshotOptions = {
  /** Called while all threads are stopped: to note where the input stands. What it throws gives up the snapshot. */
  readonly atStop?: () => void;
};

/** Its memory is that of a clone, which stands still until {@link close}; it ends with this program. */
export class Snapshot {
  /** The process image, without page contents. */
  readonly image: Uint8Array;
  /** Pages with contents that the destination cannot get from files: ascending, not overlapping. */
  readonly pages: readonly PageRange[];
  /** From the first interrupt to the last thread let go. */
  readonly freezeMicros: number;
  readonly #clone: TracedProcess;
  #closed = false;

  constructor(image: Uint8Array, pages: readonly PageRange[], freezeMicros: number, clone: TracedProcess) {
    this.image = image;
    this.pages = pages;
    this.freezeMicros = freezeMicros;
    this.#clone = clone;
  }

  /** Fills `into` with the memory of `ranges`, one behind another; `into` is as long as all of them together. */
  readPages(ranges: readonly PageRange[], into: Uint8Array): void {
    assert(!this.#closed, 'a snapshot that is closed is not read');
    this.#clone.memory.readRanges(ranges, into);
  }

  /** Ends the clone. May be repeated. From the thread that made the snapshot. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#clone.close();
    killClone(this.#clone.pid);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

type Clone = { readonly pid: number; readonly agent: Agent };

const nowMicros = (): number => Number(process.hrtime.bigint()) / 1000;

/**
 * Takes a snapshot by forking the process.
 *
 * @param stopAll stops every thread of the process; afterwards they run in any case.
 */
export function takeSnapshot(
  tools: SourceTools,
  stopAll: () => readonly FrozenThread[],
  { atStop }: SnapshotOptions,
): Snapshot {
  const { process, facts, faults } = tools;
  let clone: Clone | undefined;
  const began = nowMicros();
  const threads = stopAll();
  try {
    let state: CapturedState;
    try {
      atStop?.();
      state = captureState(tools, threads, (main, survey) => {
        clone = { pid: cloneProcess(main, survey), agent: main.agent };
        faults.reach('capture.cloned');
      });
    } finally {
      releaseThreads(process, threads);
      beNormal(facts.scheduling);
    }
    const freezeMicros = nowMicros() - began;
    faults.reach('snapshot.released');
    return readClone(tools, state, defined(clone, 'the clone'), freezeMicros);
  } catch (error) {
    if (clone !== undefined) killClone(clone.pid);
    throw error;
  }
}

/** What can be read when the process runs again. */
function readClone(tools: SourceTools, state: CapturedState, clone: Clone, freezeMicros: number): Snapshot {
  const { faults, facts } = tools;
  const opened = openClone(tools.process, clone.agent, clone.pid);
  const finder = new PageFinder(clone.pid, facts.pagemapScan);
  try {
    closeDescriptors(opened);
    faults.reach('snapshot.separated');
    const pages = findPages(state.memory.areas, finder);
    faults.reach('snapshot.pages');
    const image = encodeProcessImage(imageWith(state, pages));
    faults.reach('snapshot.encoded');
    return new Snapshot(image, pageRanges(pages), freezeMicros, opened.process);
  } catch (error) {
    opened.process.close();
    throw error;
  } finally {
    finder.close();
  }
}
