/** Stopping every thread of a process, and letting them go. */
import { ComicranError } from '../base/errors.ts';
import { EPERM, ESRCH, KernelError } from '../linux/errno.ts';
import { trySyscall } from '../linux/libc.ts';
import { sendSignal } from '../linux/pidfd.ts';
import { listThreads, readStatus, StatusFile } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import { TRACE_EVENT, TRACE_OPTION } from '../linux/ptrace.ts';
import { Registers } from '../linux/registers.ts';
import { SIGNAL } from '../linux/signals.ts';
import { sleepMicros } from '../linux/sleep.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { ThreadFiles } from '../linux/thread-files.ts';
import { type TracedProcess, Tracee } from '../linux/tracee.ts';
import { pollThread, reapThreads } from '../linux/wait.ts';
import type { CaptureFault, Faults } from './faults.ts';
import { prepareResume } from './restart.ts';
import type { WaitDeadlines } from './wait-deadlines.ts';

export type FreezeOptions = {
  /** How long a thread may take to stop; one that waits for a disk or a network file system does not until it has it. */
  readonly deadlineMicros: number;
  /** Takes care of threads that were asked to stop and have not yet, see {@link Stragglers}. */
  readonly stragglers: Stragglers;
  readonly faults: Faults<CaptureFault>;
  /** The status files of the threads, open where they were there before. */
  readonly statuses?: ThreadFiles;
  /** Of the waits that earlier freezes of this process have cut short. */
  readonly deadlines?: WaitDeadlines;
};

/** Polls of a thread that follow each other without a pause: one that is running stops within microseconds. */
const SPINS = 12;
/**
 * Then the thread may be waiting for a CPU that something else has, and as long as this program is busy the kernel does not
 * move it to this one.
 */
const SHORT_PAUSES = 50;
const SHORT_PAUSE_MICROS = 15;
const PAUSE_MICROS = 100;

const nowMicros = (): number => Number(process.hrtime.bigint()) / 1000;

/** A stopped thread, and what /proc said of it when it had stopped. */
export type FrozenThread = { readonly thread: Tracee; readonly status: StatusFile };

/**
 * Stops every thread of a process, also those that are made meanwhile. On failure none is stopped or traced any more, and
 * each runs on as if it had never been.
 *
 * @returns the stopped threads, the main thread first. They can be let go at any moment.
 * @throws ComicranError process.unsupported (stopped by a signal, traced by another), process.gone, deadline.
 */
export function freezeThreads(process: TracedProcess, options: FreezeOptions): FrozenThread[] {
  const { pid } = process;
  const { faults, statuses } = options;
  const stopped: number[] = [];
  const pending = new Set<number>();
  // Injected calls would have to pass the filters of the process.
  const hasFilters = readStatus(pid).text('Seccomp') !== '0';
  process.traceOptions = TRACE_OPTION.SYSGOOD | (hasFilters ? TRACE_OPTION.SUSPEND_SECCOMP : 0);
  try {
    for (let fresh = listThreads(pid); fresh.length > 0; ) {
      for (const tid of fresh) if (trySeize(pid, tid, process.traceOptions)) pending.add(tid);
      if (stopped.length === 0) process.interruptedAtMicros = nowMicros();
      for (const tid of pending) ptrace.interrupt(tid);
      faults.reach('freeze.seized');
      for (const tid of pending) {
        if (waitForStop(tid, pid, options.deadlineMicros)) stopped.push(tid);
        pending.delete(tid);
      }
      faults.reach('freeze.stopped');
      fresh = listThreads(pid).filter((tid) => !stopped.includes(tid));
    }
    const order = [pid, ...stopped.filter((tid) => tid !== pid)];
    const frozen = order.map((tid) => {
      const thread = new Tracee(process, tid);
      const status = statuses?.has(tid) === true ? openStatus(statuses, tid) : readStatus(pid, tid);
      if (prepareResume(thread.registers, () => waitingSignals(status, thread.signalMask) !== 0n)) {
        options.deadlines?.shorten(tid, thread.registers, nowMicros() / 1000);
        thread.restore();
      }
      return { status, thread };
    });
    faults.reach('freeze.complete');
    return frozen;
  } catch (error) {
    // Some may have been seized and not yet told to stop.
    for (const tid of pending) tryInterrupt(tid);
    options.stragglers.add(process.pid, pending);
    for (const tid of stopped.toReversed()) letGo(process.pid, tid);
    throw error;
  }
}

/** Lets frozen threads run. What has ended meanwhile is left out. @returns for how long they were stopped, in microseconds. */
export function releaseThreads(process: TracedProcess, threads: readonly FrozenThread[]): number {
  // A stop that was asked for while calls were injected was kept from the thread.
  if (process.stopRequested) sendSignal(process.pid, SIGNAL.STOP);
  process.stopRequested = false;
  const ended = threads.filter(({ thread }) => !tryDetach(thread.tid));
  const stoppedMicros = nowMicros() - process.interruptedAtMicros;
  // Killed while it was stopped.
  reapThreads(ended.map(({ thread }) => thread.tid).toReversed());
  return stoppedMicros;
}

/** Signals that wait for a thread, that it does not block, and that the process has handlers for. */
export function waitingSignals(status: StatusFile, mask: bigint): bigint {
  return (status.hex('SigPnd') | status.hex('ShdPnd')) & status.hex('SigCgt') & ~mask;
}

const statusText = Buffer.alloc(1 << 14);

function openStatus(statuses: ThreadFiles, tid: number): StatusFile {
  return new StatusFile(statusText.toString('latin1', 0, statuses.read(tid, statusText)));
}

const settled = new Registers();

/** Makes a thread that has just stopped such that it notices nothing when it is let go. */
export function settle(pid: number, tid: number): void {
  ptrace.getRegisters(tid, settled);
  const hasWaiting = (): boolean => waitingSignals(readStatus(pid, tid), ptrace.getSignalMask(tid)) !== 0n;
  if (prepareResume(settled, hasWaiting)) ptrace.setRegisters(tid, settled);
}

/** Lets a stopped thread run that nothing has been done to. */
function letGo(pid: number, tid: number, signal = 0): void {
  try {
    settle(pid, tid);
    ptrace.detach(tid, signal);
  } catch {
    // The thread has ended: there is nothing left to let go.
    reapThreads([tid]);
  }
}

function tryInterrupt(tid: number): void {
  try {
    ptrace.interrupt(tid);
  } catch {
    // It has ended.
  }
}

/** @returns false when the thread has ended meanwhile. */
function trySeize(pid: number, tid: number, traceOptions: number): boolean {
  try {
    ptrace.seize(tid, traceOptions);
    return true;
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
    if (cause.errno === ESRCH) return false;
    // The kernel says so of a thread that is ending, too.
    if (cause.errno === EPERM && isEnding(pid, tid)) return false;
    if (cause.errno === EPERM)
      throw new ComicranError('process.unsupported', `thread ${tid} cannot be traced`, {
        cause,
        hint: 'A debugger may be attached to it, or this program lacks CAP_SYS_PTRACE or CAP_SYS_ADMIN.',
      });
    throw cause;
  }
}

/** @throws ComicranError when it is the main thread: process.gone, or process.unsupported where others live on. */
function isEnding(pid: number, tid: number): boolean {
  let state = 'X';
  try {
    state = readStatus(pid, tid).text('State')[0]!;
  } catch {
    // Not there any more.
  }
  if (state !== 'X' && state !== 'Z') return false;
  if (tid !== pid) return true;
  if (state === 'Z' && listThreads(pid).length > 1)
    throw new ComicranError('process.unsupported', `the main thread of process ${pid} has ended`);
  throw new ComicranError('process.gone', `process ${pid} has ended`);
}

/** @returns false when the thread has ended meanwhile. */
function tryDetach(tid: number): boolean {
  try {
    ptrace.detach(tid);
    return true;
  } catch (error) {
    if (error instanceof KernelError && error.errno === ESRCH) return false;
    throw error;
  }
}

/** @returns false when the thread has ended instead. */
function waitForStop(tid: number, pid: number, deadlineMicros: number): boolean {
  let deadline = 0;
  for (let polls = 0; ; polls++) {
    const status = pollThread(tid);
    if (status === null) {
      if (polls < SPINS) trySyscall(SYS.sched_yield);
      else {
        if (deadline === 0) deadline = nowMicros() + deadlineMicros;
        sleep(deadline, tid, polls < SPINS + SHORT_PAUSES ? SHORT_PAUSE_MICROS : PAUSE_MICROS);
      }
      continue;
    }
    if (status.kind !== 'stopped') {
      if (tid === pid) throw new ComicranError('process.gone', `process ${pid} has ended`);
      return false;
    }
    if (status.event === TRACE_EVENT.STOP) {
      if (status.signal === SIGNAL.TRAP) return true;
      ptrace.detach(tid);
      throw new ComicranError('process.unsupported', `process ${pid} is stopped by signal ${status.signal}`, {
        hint: 'Continue it first, for example with kill -CONT.',
      });
    }
    // A signal came first. It is delivered, and the thread stops at the first instruction of the handler.
    ptrace.interrupt(tid);
    ptrace.resume(tid, status.signal);
  }
}

function sleep(deadline: number, tid: number, micros: number): void {
  if (nowMicros() > deadline)
    throw new ComicranError('deadline', `thread ${tid} did not stop in time`, {
      hint: 'It waits in the kernel for something that cannot be interrupted, a disk for example. Try again.',
    });
  sleepMicros(micros);
}

/**
 * Threads that were asked to stop and had not when a freeze was given up. They cannot be let go before they have stopped,
 * and would then stay stopped: they are looked after until all have been.
 */
export class Stragglers {
  /** PID by TID. */
  readonly #threads = new Map<number, number>();
  #timer: NodeJS.Timeout | null = null;

  add(pid: number, tids: Iterable<number>): void {
    for (const tid of tids) this.#threads.set(tid, pid);
    this.#attend();
    if (this.#threads.size > 0 && this.#timer === null) this.#timer = setInterval(() => this.#attend(), 2);
  }

  get count(): number {
    return this.#threads.size;
  }

  #attend(): void {
    for (const [tid, pid] of [...this.#threads]) {
      try {
        const status = pollThread(tid);
        if (status === null) continue;
        if (status.kind === 'stopped') letGo(pid, tid, status.event === 0 ? status.signal : 0);
      } catch {
        // It has ended.
      }
      this.#threads.delete(tid);
    }
    if (this.#threads.size === 0 && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
  }
}
