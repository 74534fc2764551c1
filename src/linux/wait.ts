/** wait4(2) for traced threads. */
import { ComicranError } from '../base/errors.ts';
import { ECHILD, EINTR, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { sleepMicros } from './sleep.ts';
import { SYS } from './syscall-numbers.ts';

const WALL = 0x40000000;
const WNOHANG = 1;
const STOPPED = 0x7f;

/** What wait4 reported, told apart. `signal` of a stop is the one that would be delivered (SIGTRAP for events). */
export type WaitStatus =
  | { readonly kind: 'stopped'; readonly signal: number; readonly event: number }
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: number };

const status = Buffer.alloc(4);

function decode(word: number): WaitStatus {
  if ((word & 0xff) === STOPPED) return { kind: 'stopped', signal: (word >>> 8) & 0xff, event: word >>> 16 };
  if ((word & 0x7f) === 0) return { kind: 'exited', code: (word >>> 8) & 0xff };
  return { kind: 'killed', signal: word & 0x7f };
}

/** The next report of a thread, or null when there is none yet. @throws ComicranError process.gone: not a tracee. */
export function pollThread(tid: number): WaitStatus | null {
  return wait(tid, WALL | WNOHANG);
}

/** Blocks until a thread reports. Only for a thread that is bound to report soon: there is no deadline. */
export function waitThread(tid: number): WaitStatus {
  for (;;) {
    const found = wait(tid, WALL);
    if (found !== null) return found;
  }
}

const REAP_POLLS = 10_000;
const REAP_PAUSE_MICROS = 50;

/**
 * Takes note of the end of traced threads that have been killed: until their tracer has, they stay zombies, and their PID
 * namespace cannot end. Does nothing for those that are no tracees any more. Gives up after about a second.
 *
 * @param tids the main thread last: its end is reported after all others'.
 */
export function reapThreads(tids: readonly number[]): void {
  for (const tid of tids) {
    for (let polls = 0; polls < REAP_POLLS; polls++) {
      const status = trySyscall(SYS.wait4, tid, found, WALL | WNOHANG, 0);
      if (status === 0) sleepMicros(REAP_PAUSE_MICROS);
      else if (status !== tid || (found.readUInt32LE(0) & 0xff) !== STOPPED) break;
    }
  }
}

const found = Buffer.alloc(4);

function wait(tid: number, options: number): WaitStatus | null {
  for (;;) {
    const result = trySyscall(SYS.wait4, tid, status, options, 0);
    if (result === -EINTR) continue;
    if (result === -ECHILD) throw new ComicranError('process.gone', `thread ${tid} has ended`);
    if (result < 0) throw new KernelError(`wait4 for thread ${tid}`, -result);
    return result === 0 ? null : decode(status.readUInt32LE(0));
  }
}
