/** A process as it was at one moment, while it runs on. */
import { assert, defined } from '../base/assert.ts';
import { encodeProcessImage } from '../image/codec.ts';
import type { Agent } from '../linux/agent.ts';
import { closeDescriptors, killClone, openClone } from '../linux/fork.ts';
import { endFirstForWantOfMemory } from '../linux/out-of-memory.ts';
import { PageFinder } from '../linux/pagemap.ts';
import type { TracedProcess } from '../linux/tracee.ts';
import { beNormal } from '../linux/urgency.ts';
import {
  askInherited,
  captureState,
  type Inject,
  imageWith,
  type ReadState,
  readState,
  readStopped,
  type StoppedReadings,
} from './capture.ts';
import { cloneProcess } from './clone.ts';
import { type CopiedMemory, type LastPages, privateAreas } from './copied-memory.ts';
import type { PreparedDescriptors } from './descriptors/prepared.ts';
import { type FrozenThread, releaseThreads } from './freeze.ts';
import { type PageRange, pageRanges } from './frozen.ts';
import { findPages } from './memory.ts';
import type { SourceTools } from './source.ts';

export type SnapshotOptions = {
  /**
   * Called while all threads are stopped: to note where the input stands. What it throws gives up the snapshot. It may be
   * called again, when the snapshot has to be taken once more because the process has just changed its memory areas: then the
   * last call counts.
   */
  readonly atStop?: () => void;
  /** Memory that has been copied beforehand: no clone is made, and `pages` are the last ones alone. */
  readonly copied?: CopiedMemory;
};

/** Where the memory of a snapshot is read from. */
type SnapshotMemory = {
  read(ranges: readonly PageRange[], into: Uint8Array): void;
  close(): void;
};

/** Its memory is that of a clone, which stands still until {@link close} and ends with this program, or a copy. */
export class Snapshot {
  /** The process image, without page contents. */
  readonly image: Uint8Array;
  /** Pages with contents that the destination cannot get from files: ascending, not overlapping. */
  readonly pages: readonly PageRange[];
  /** As `pages`; with memory that was copied beforehand also those that were: a copy may have others, which are gone. */
  readonly ownPages: readonly PageRange[];
  /** From the first interrupt to the last thread let go. */
  readonly freezeMicros: number;
  readonly #memory: SnapshotMemory;
  #closed = false;

  constructor(
    image: Uint8Array,
    pages: { readonly pages: readonly PageRange[]; readonly ownPages: readonly PageRange[] },
    freezeMicros: number,
    memory: SnapshotMemory,
  ) {
    this.image = image;
    this.pages = pages.pages;
    this.ownPages = pages.ownPages;
    this.freezeMicros = freezeMicros;
    this.#memory = memory;
  }

  /** Fills `into` with the memory of `ranges`, one behind another; `into` is as long as all of them together. */
  readPages(ranges: readonly PageRange[], into: Uint8Array): void {
    assert(!this.#closed, 'a snapshot that is closed is not read');
    this.#memory.read(ranges, into);
  }

  /** Ends the clone. May be repeated. From the thread that made the snapshot. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

type Clone = { readonly pid: number; readonly agent: Agent };

/**
 * Takes a snapshot by forking the process.
 *
 * @param assume takes the areas for what they were before the stop; afterwards it is found out whether that was right.
 * @returns null when it was not: nothing has been done then, and another try may find the process at rest.
 * @param stopAll stops every thread of the process; afterwards they run in any case.
 */
export function takeSnapshot(
  tools: SourceTools,
  prepared: PreparedDescriptors,
  stopAll: () => readonly FrozenThread[],
  { atStop }: Omit<SnapshotOptions, 'copied'>,
  assume: boolean,
): Snapshot | null {
  const { process, facts, faults, surveyor } = tools;
  let clone: Clone | undefined;
  const fork: Inject = (main, survey, calls, errand) => {
    const { pid, results } = cloneProcess(main, survey.forkAdvice, calls, errand);
    clone = { pid, agent: main.agent };
    faults.reach('capture.cloned');
    return results;
  };
  const threads = stopAll();
  let freezeMicros = 0;
  try {
    let readings: StoppedReadings;
    try {
      const survey = assume ? surveyor.assumed(threads[0]!.status) : surveyor.survey();
      if (survey === null) return null;
      atStop?.();
      readings = readStopped(tools, prepared, threads, survey, fork, () => null);
    } finally {
      freezeMicros = releaseThreads(process, threads);
      beNormal(facts.scheduling);
    }
    faults.reach('snapshot.released');
    const { pid, agent } = defined(clone, 'the clone');
    if (assume && !surveyor.wereSame(pid, agent)) {
      killClone(pid);
      return null;
    }
    return readClone(tools, readings, { pid, agent }, freezeMicros);
  } catch (error) {
    if (clone !== undefined) killClone(clone.pid);
    throw error;
  }
}

function memoryOf(clone: TracedProcess): SnapshotMemory {
  return {
    read: (ranges, into) => clone.memory.readRanges(ranges, into),
    close: () => {
      clone.close();
      killClone(clone.pid);
    },
  };
}

/** What can be read when the process runs again. */
function readClone(tools: SourceTools, readings: StoppedReadings, clone: Clone, freezeMicros: number): Snapshot {
  const { faults, facts } = tools;
  const opened = openClone(tools.process, clone.agent, clone.pid);
  const finder = new PageFinder(clone.pid, facts.pagemapScan);
  try {
    closeDescriptors(opened);
    faults.reach('snapshot.separated');
    const state = readState(tools, clone.pid, readings, askInherited(opened)).complete();
    // The pages that the process has written since are there twice: rather no snapshot than no process. Not before the image
    // has the process's own score, which the clone has inherited.
    endFirstForWantOfMemory(clone.pid);
    const pages = pageRanges(findPages(state.memory.areas, finder));
    faults.reach('snapshot.pages');
    const image = encodeProcessImage(imageWith(state, pages));
    faults.reach('snapshot.encoded');
    return new Snapshot(image, { pages, ownPages: pages }, freezeMicros, memoryOf(opened.process));
  } catch (error) {
    opened.process.close();
    throw error;
  } finally {
    finder.close();
  }
}

/**
 * Takes a snapshot of a process whose memory has been copied beforehand: what is left to copy is copied while it stands still.
 *
 * @param stopAll stops every thread of the process; afterwards they run in any case.
 */
export function takeCopiedSnapshot(
  tools: SourceTools,
  prepared: PreparedDescriptors,
  stopAll: () => readonly FrozenThread[],
  copied: CopiedMemory,
  { atStop }: Omit<SnapshotOptions, 'copied'>,
): Snapshot {
  const { process, facts, faults } = tools;
  let state: ReadState;
  let last: LastPages;
  let freezeMicros = 0;
  const threads = stopAll();
  try {
    atStop?.();
    state = captureState(tools, prepared, threads);
    // Last of all: what the engine itself has changed is then among it.
    last = copied.last(privateAreas(state.memory.areas));
    faults.reach('capture.pages');
  } finally {
    freezeMicros = releaseThreads(process, threads);
    beNormal(facts.scheduling);
  }
  faults.reach('snapshot.released');
  const { own, written } = last;
  const image = encodeProcessImage(imageWith(state.complete(), own));
  faults.reach('snapshot.encoded');
  const memory = {
    read: (ranges: readonly PageRange[], into: Uint8Array) => last.read(ranges, into),
    close: () => undefined,
  };
  return new Snapshot(image, { pages: written, ownPages: own }, freezeMicros, memory);
}
