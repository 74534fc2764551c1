import { getScheduling, setScheduling } from '../linux/scheduling.ts';

/** Of nice(2): while such a thread works, a process stands still for it. */
export const MOST_HURRIED = -15;
/**
 * Of the thread that talks: progress has to be told, and a word to give up heard, while a thread that is
 * {@link MOST_HURRIED} has a machine's only CPU (seen there: nothing for ten seconds).
 */
export const HURRIED = -12;

/** Puts the calling thread above what else the machine has to do. Threads and processes that it starts do not inherit it. */
export function hurry(nice: number): void {
  try {
    setScheduling(0, { ...getScheduling(0), nice, resetOnFork: true });
  } catch {
    // Without CAP_SYS_NICE it takes its turn like everybody.
  }
}
