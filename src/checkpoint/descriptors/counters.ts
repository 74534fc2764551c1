/** Descriptors that count or wait inside the kernel: eventfd, timerfd, signalfd. Their state is in fdinfo. */
import type { EventfdImage, SignalfdImage, TimerfdImage } from '../../image/descriptors/types.ts';
import { probeSemaphore } from '../../linux/eventfd.ts';
import { parseEventfd, parseSignalfdMask, parseTimerfd } from '../../linux/fdinfo.ts';
import { CLOCK_REALTIME, clockTime, countTicks, isWallClock, TFD_TIMER_ABSTIME } from '../../linux/timerfd.ts';
import type { DescriptorSource, Found } from './source.ts';

/** A reading of a timer and the clock within this time is exact enough. */
const CLOSE_ENOUGH_NANOS = 100_000n;
const READINGS = 4;

export function captureEventfd(source: DescriptorSource, { number, text, flags }: Found): EventfdImage {
  const { count, semaphore } = parseEventfd(text);
  if (semaphore !== null) return { kind: 'eventfd', flags, count, semaphore };
  // A process that runs may be using it: the look at it goes without.
  if (source.context.running) return { kind: 'eventfd', flags, count, semaphore: false };
  return { kind: 'eventfd', flags, count, semaphore: probeSemaphore(source.copy(number), count) };
}

export function captureSignalfd({ text, flags }: Found): SignalfdImage {
  return { kind: 'signalfd', flags, mask: parseSignalfdMask(text) };
}

/**
 * Reads fdinfo anew, and is best called last: a timer that is due but whose interrupt has not run yet looks as if it were
 * disarmed, and the more time has passed since the process was stopped, the less can that be.
 */
export function captureTimerfd(source: DescriptorSource, { number, flags }: Found): TimerfdImage {
  let timer = parseTimerfd(source.text(number));
  if (timer.ticks > 0n && timer.remaining === 0n && timer.interval > 0n) {
    // Periodic and expired: the kernel counts further periods when it is next asked, and fdinfo does not ask.
    countTicks(source.copy(number));
    timer = parseTimerfd(source.text(number));
  }
  const { clock, settimeFlags, ticks, remaining, interval } = timer;
  const followsTheTime = isWallClock(clock) && (settimeFlags & TFD_TIMER_ABSTIME) !== 0;
  const expiry = followsTheTime && remaining > 0n ? timeOfExpiry(source, number) : 0n;
  return { kind: 'timerfd', flags, clock, settimeFlags, ticks, remaining, expiry, interval };
}

/**
 * The time of day at which a timer expires. What remains and the clock are read one after the other, and this program may
 * lose the CPU in between: the reading that took the least time is the one to believe.
 */
function timeOfExpiry(source: DescriptorSource, number: number): bigint {
  let best = { took: CLOSE_ENOUGH_NANOS * 1_000_000n, expiry: 0n };
  for (let reading = 0; reading < READINGS && best.took > CLOSE_ENOUGH_NANOS; reading++) {
    const before = clockTime(CLOCK_REALTIME);
    const { remaining } = parseTimerfd(source.text(number));
    const took = clockTime(CLOCK_REALTIME) - before;
    if (took < best.took) best = { took, expiry: before + remaining };
  }
  return best.expiry;
}
