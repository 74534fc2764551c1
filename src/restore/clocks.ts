/**
 * Clocks that go on. CLOCK_MONOTONIC and CLOCK_BOOTTIME count from the start of a machine; a process that is moved to one
 * that was started later would see them jump back, and would wait for its timers until they have caught up.
 */
import type { PlatformImage } from '../image/types.ts';
import { CLOCK, readClockNanos } from '../linux/clocks.ts';
import type { ClockOffsets } from '../linux/time-namespace.ts';

/** Closer clocks are left as they are: reading them takes time, too. */
const TOLERANCE_NANOS = 20_000_000n;
/** A migration that seems to have taken longer, or to have ended before it began, tells that the wall clocks differ. */
const LONGEST_STOP_NANOS = 600_000_000_000n;

export type MachineClocks = Pick<PlatformImage, 'realtimeNanos' | 'monotonicNanos' | 'boottimeNanos'>;

export function readMachineClocks(): MachineClocks {
  return {
    realtimeNanos: readClockNanos(CLOCK.REALTIME),
    monotonicNanos: readClockNanos(CLOCK.MONOTONIC),
    boottimeNanos: readClockNanos(CLOCK.BOOTTIME),
  };
}

/**
 * What the process's clocks must be ahead of this machine's to go on from where they stood, plus the time that has passed
 * since by the wall clock.
 *
 * @returns null: as they are they go on.
 */
export function offsetsFor(image: MachineClocks, here: MachineClocks): ClockOffsets | null {
  const byWallClock = here.realtimeNanos - image.realtimeNanos;
  const passed = byWallClock < 0n || byWallClock > LONGEST_STOP_NANOS ? 0n : byWallClock;
  const offsets = {
    monotonicNanos: image.monotonicNanos + passed - here.monotonicNanos,
    boottimeNanos: image.boottimeNanos + passed - here.boottimeNanos,
  };
  const isClose = (nanos: bigint): boolean => nanos < TOLERANCE_NANOS && nanos > -TOLERANCE_NANOS;
  return isClose(offsets.monotonicNanos) && isClose(offsets.boottimeNanos) ? null : offsets;
}
