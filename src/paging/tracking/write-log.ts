/** How writes to a process's memory are noticed. One file a way; the kernel decides which there are. */
import type { PageRuns } from '../../linux/page-runs.ts';
import type { Tracee } from '../../linux/tracee.ts';
import type { ScannedArea } from '../../linux/write-scan.ts';

/** Stops every thread of the process for a moment and does something with the main one. */
export type InStop = <T>(run: (main: Tracee) => T) => T;

/**
 * What was seen. A page is the process's own when it is neither untouched, nor the zero page, nor one of a file; so a page
 * that is own no longer reads as zeros, or as what the file has there, or cannot be read.
 */
export type Look = {
  readonly own: PageRuns;
  /** Written since the last {@link WriteLog.next}, or not known to be as they were. Not all of these need be in `own`. */
  readonly written: PageRuns;
};

export interface WriteLog {
  /** Whether the process has to stand still for each round. */
  readonly stopsForNext: boolean;
  /**
   * Looks at a process that runs, and begins to notice anew: what is written after it has been told is told again.
   *
   * @param asItIs leaves the list of the process's areas as it is: registering one can make it and its neighbour one.
   */
  next(asItIs?: boolean): Look;
  /** Looks at a process that stands still, as quickly as can be. Changes nothing: `next` tells all of it again. */
  last(areas: readonly ScannedArea[]): Look;
  /** Leaves the process as it was. */
  close(): void;
}
