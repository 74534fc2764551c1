/** Which of the two ways of taking a snapshot suits a process. */
import type { KernelFacts } from '../../linux/kernel-facts.ts';

/**
 * `fork`: a clone keeps the memory as it was. The process stands still for 10–30 µs a megabyte of small pages, for its page
 * tables to be copied, and pays for a copy of every page that it writes to afterwards.
 *
 * `tracking`: the memory is copied beforehand. The process stands still for about 1 µs a megabyte and 2 µs a page that is left
 * to copy, and once before for a millisecond; what it writes to costs it 1–2 µs a page and round.
 */
export type SnapshotWay = 'fork' | 'tracking';

/** From here on the stop of a fork is longer by more than the second stop of tracking, about a millisecond. */
const TRACKING_FROM_BYTES = 64 << 20;

/**
 * @param memoryBytes of the process itself, in pages of 4 KiB: those in huge pages cost a fork next to nothing.
 */
export function chooseWay(memoryBytes: number, { writeTracking }: Pick<KernelFacts, 'writeTracking'>): SnapshotWay {
  // Soft-dirty bits are read page by page: the stop would be as long as that of a fork, and there would be one each round.
  return writeTracking === 'userfaultfd' && memoryBytes >= TRACKING_FROM_BYTES ? 'tracking' : 'fork';
}
