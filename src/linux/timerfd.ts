/** timerfd of this process: setting a timer, and the number of its unread expirations. */
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** _IOW('T', 0, __u64), linux/timerfd.h; a kernel with CONFIG_CHECKPOINT_RESTORE. */
const TFD_IOC_SET_TICKS = 0x4008_5400;
/** Two struct timespec: interval, value. */
const ITIMERSPEC_BYTES = 32;
const NANOSECONDS = 1_000_000_000n;

export const TFD_TIMER_ABSTIME = 1;

export const CLOCK_REALTIME = 0;
const CLOCK_REALTIME_ALARM = 8;

/** Clocks whose time is the time of day, and so the same moment on every machine: CLOCK_REALTIME and its alarm form. */
const WALL_CLOCKS: readonly number[] = [CLOCK_REALTIME, CLOCK_REALTIME_ALARM];
export const isWallClock = (clock: number): boolean => WALL_CLOCKS.includes(clock);

/** All in nanoseconds. */
export function setTimer(descriptor: number, flags: number, value: bigint, interval: bigint): void {
  const spec = Buffer.alloc(ITIMERSPEC_BYTES);
  for (const [index, time] of [interval, value].entries()) {
    spec.writeBigInt64LE(time / NANOSECONDS, index * 16);
    spec.writeBigInt64LE(time % NANOSECONDS, index * 16 + 8);
  }
  syscall('timerfd_settime', SYS.timerfd_settime, descriptor, flags, spec, null);
}

/**
 * Lets a periodic timer that has expired count the periods since then, as reading it would. It may become readable once
 * more for an edge-triggered epoll; nothing else of it changes.
 */
export function countTicks(descriptor: number): void {
  syscall('timerfd_gettime', SYS.timerfd_gettime, descriptor, Buffer.alloc(ITIMERSPEC_BYTES));
}

export function setTicks(descriptor: number, ticks: bigint): void {
  const argument = Buffer.alloc(8);
  argument.writeBigUInt64LE(ticks);
  syscall('TFD_IOC_SET_TICKS', SYS.ioctl, descriptor, TFD_IOC_SET_TICKS, argument);
}

/** The time of a clock in nanoseconds. */
export function clockTime(clock: number): bigint {
  const time = Buffer.alloc(16);
  syscall(`clock_gettime of clock ${clock}`, SYS.clock_gettime, clock, time);
  return time.readBigInt64LE(0) * NANOSECONDS + time.readBigInt64LE(8);
}
