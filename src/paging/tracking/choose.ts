/** Which of the two ways of taking a snapshot suits a process. */
import { formatBytes } from '../../base/units.ts';
import type { KernelFacts } from '../../linux/kernel-facts.ts';

/**
 * `fork`: a clone keeps the memory as it was. The process stands still for 10–30 µs a megabyte of small pages, for its page
 * tables to be copied, and pays for a copy of every page that it writes to afterwards.
 *
 * `tracked`: the memory is copied beforehand. The process stands still for about 1 µs a megabyte and 2 µs a page that is left
 * to copy, and once before for a millisecond; what it writes to costs it 1–2 µs a page and round.
 */
export type SnapshotWay = 'fork' | 'tracked';

export type ChosenWay = {
  readonly way: SnapshotWay;
  /** For people. */
  readonly why: string;
};

/** From here on the stop of a fork is longer by more than the second stop of tracking, about a millisecond. */
const TRACKED_FROM_BYTES = 64 << 20;

/**
 * @param memoryBytes of the process itself, in pages of 4 KiB: those in huge pages cost a fork next to nothing.
 * @param asked by an operator; done where it can be.
 */
export function chooseWay(
  memoryBytes: number,
  { writeTracking }: Pick<KernelFacts, 'writeTracking'>,
  asked?: SnapshotWay,
): ChosenWay {
  if (asked === 'fork') return { way: 'fork', why: 'it was asked for' };
  if (writeTracking === 'none') return { way: 'fork', why: 'this kernel does not tell which pages are written' };
  if (asked === 'tracked') return { way: 'tracked', why: 'it was asked for' };
  const size = `${formatBytes(memoryBytes)} in small pages`;
  const limit = formatBytes(TRACKED_FROM_BYTES);
  if (memoryBytes < TRACKED_FROM_BYTES) return { way: 'fork', why: `it has ${size}, less than ${limit}` };
  // Soft-dirty bits are read page by page: the stop would be as long as that of a fork, and there would be one each round.
  if (writeTracking === 'soft-dirty')
    return { way: 'fork', why: 'this kernel tells which pages are written by soft-dirty bits only' };
  return { way: 'tracked', why: `it has ${size}, ${limit} or more` };
}
