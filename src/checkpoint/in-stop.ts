/** A short stop of a whole process, for what is neither a capture nor a snapshot. */
import { parseMaps, readProc } from '../linux/procfs.ts';
import type { TracedProcess, Tracee } from '../linux/tracee.ts';
import { readVdso } from '../linux/vdso.ts';
import { type FreezeOptions, freezeThreads, releaseThreads } from './freeze.ts';
import { leaveRestartableSequence } from './threads.ts';

/**
 * Stops every thread of a process, does something with the main one, which can make system calls, and lets them go. They
 * notice nothing.
 *
 * @throws what freezeThreads throws, and what `run` throws.
 */
export function inStop<T>(process: TracedProcess, options: FreezeOptions, run: (main: Tracee) => T): T {
  const threads = freezeThreads(process, options);
  try {
    const main = threads[0]!.thread;
    leaveRestartableSequence(main);
    process.syscallSite = readVdso(parseMaps(readProc(process.pid, 'maps')), process.memory).syscallSite;
    process.mayFault = false;
    return run(main);
  } finally {
    releaseThreads(process, threads);
  }
}
