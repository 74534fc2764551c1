/** Signal actions and timers: what the process does when something happens to it. */
import { ComicranError } from '../base/errors.ts';
import type { IntervalTimer, PosixTimer, TimerImage, TimerNotification } from '../image/types.ts';
import { readStatus, type TimersEntry } from '../linux/procfs.ts';
import { SIGNAL_COUNT } from '../linux/signals.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { Tracee } from '../linux/tracee.ts';
import type { Question } from './question.ts';

/** struct kernel_sigaction: handler, flags, restorer, mask. */
const ACTION_BYTES = 32;
const SIGSET_BYTES = 8;

/** struct kernel_sigaction of every signal, one behind another. */
export function signalActions(main: Tracee): Question<Buffer> {
  const at = main.agent.reserve(SIGNAL_COUNT * ACTION_BYTES);
  return {
    calls: Array.from({ length: SIGNAL_COUNT }, (_, index) => ({
      what: `read the action of signal ${index + 1}`,
      number: SYS.rt_sigaction,
      args: [index + 1, 0, at + BigInt(index * ACTION_BYTES), SIGSET_BYTES],
    })),
    answer: () => main.read(at, SIGNAL_COUNT * ACTION_BYTES),
  };
}

/** struct itimerspec and struct itimerval: interval and value, of seconds and a fraction each. */
const TIMER_BYTES = 32;

function amount(bytes: Buffer, offset: number, perSecond: bigint): bigint {
  return bytes.readBigInt64LE(offset) * perSecond + bytes.readBigInt64LE(offset + 8);
}

export function intervalTimers(main: Tracee): Question<TimerImage['intervals']> {
  const at = main.agent.reserve(3 * TIMER_BYTES);
  return {
    calls: [0, 1, 2].map((which) => ({
      what: `read interval timer ${which}`,
      number: SYS.getitimer,
      args: [which, at + BigInt(which * TIMER_BYTES)],
    })),
    answer: () => {
      const bytes = main.read(at, 3 * TIMER_BYTES);
      const timer = (which: number): IntervalTimer => ({
        intervalMicros: amount(bytes, which * TIMER_BYTES, 1_000_000n),
        remainingMicros: amount(bytes, which * TIMER_BYTES + 16, 1_000_000n),
      });
      return [timer(0), timer(1), timer(2)];
    },
  };
}

/**
 * @param entries what /proc/PID/timers says of the process, read while it was stopped.
 * @throws ComicranError process.unsupported: a timer on a clock that cannot be had elsewhere.
 */
export function posixTimers(main: Tracee, entries: readonly TimersEntry[]): Question<PosixTimer[]> {
  // Negative: the CPU time of another process or thread, or a clock that is a device.
  for (const { id, clock } of entries)
    if (clock < 0)
      throw new ComicranError('process.unsupported', `process ${main.process.pid} has timer ${id} on clock ${clock}`);
  const at = main.agent.reserve(Math.max(1, entries.length) * TIMER_BYTES);
  return {
    calls: entries.map(({ id }, index) => ({
      what: `read timer ${id}`,
      number: SYS.timer_gettime,
      args: [id, at + BigInt(index * TIMER_BYTES)],
    })),
    answer: () => {
      const bytes = main.read(at, Math.max(1, entries.length) * TIMER_BYTES);
      return entries.map((entry, index) => ({
        id: entry.id,
        clock: entry.clock,
        notification: notification(main.process.pid, entry),
        intervalNanos: amount(bytes, index * TIMER_BYTES, 1_000_000_000n),
        remainingNanos: amount(bytes, index * TIMER_BYTES + 16, 1_000_000_000n),
      }));
    },
  };
}

function notification(pid: number, { notify, toThread, signal, value, target }: TimersEntry): TimerNotification {
  if (notify === 'none') return { kind: 'none' };
  // `thread` is the C library's business (SIGEV_THREAD); to the kernel it is a signal.
  if (!toThread) return { kind: 'signal', signal, value };
  return { kind: 'thread', signal, value, tid: readStatus(pid, target).innermost('NSpid') };
}
