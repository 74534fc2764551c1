/** clock_gettime(2), for clocks that Node has no function for. */
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

export const CLOCK = { REALTIME: 0, MONOTONIC: 1, BOOTTIME: 7 } as const;

const time = Buffer.alloc(16);

/** Nanoseconds of a clock of {@link CLOCK}. */
export function readClockNanos(clock: number): bigint {
  syscall('clock_gettime', SYS.clock_gettime, clock, time);
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}
