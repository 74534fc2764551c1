/** Ending a stop (SIGSTOP) such that the process cannot notice. */
import { EPERM, ESRCH, KernelError } from './errno.ts';
import { sendSignal } from './pidfd.ts';
import { listThreads, readStatus } from './procfs.ts';
import * as ptrace from './ptrace.ts';
import { hasSignal, SIGNAL } from './signals.ts';
import { waitThread } from './wait.ts';

const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
const CONT_BIT = 1n << BigInt(SIGNAL.CONT - 1);

/**
 * Lets a stopped process run on. SIGCONT is the only way, and a process may have a handler for it or wait for it; then
 * its threads are traced for a moment, and the signal is taken away from them. Does nothing where the process runs.
 *
 * @param settle called for every thread while it is traced: to put right what the stop has cut short.
 * @throws KernelError ESRCH: it has ended.
 */
export function continueQuietly(pid: number, settle?: (tid: number) => void): void {
  const tids = listThreads(pid);
  const noticed = tids.some((tid) => {
    const status = readStatus(pid, tid);
    return hasSignal(status.hex('SigCgt') | status.hex('SigBlk'), SIGNAL.CONT);
  });
  if ((noticed || settle !== undefined) && readStatus(pid).text('State')[0] === 'T') continueTraced(pid, tids, settle);
  else sendSignal(pid, SIGNAL.CONT);
}

function continueTraced(pid: number, tids: readonly number[], settle?: (tid: number) => void): void {
  const traced: number[] = [];
  try {
    for (const tid of tids) {
      if (!trySeize(tid, pid)) continue;
      traced.push(tid);
      ptrace.interrupt(tid);
      waitThread(tid);
      settle?.(tid);
    }
    sendSignal(pid, SIGNAL.CONT);
    takeAway(pid, tids[0]!);
  } finally {
    for (const tid of traced) detach(tid);
  }
}

/** @returns false for a thread that is ending. */
function trySeize(tid: number, pid: number): boolean {
  try {
    ptrace.seize(tid);
    return true;
  } catch (error) {
    if (tid === pid || !(error instanceof KernelError) || (error.errno !== ESRCH && error.errno !== EPERM)) throw error;
    return false;
  }
}

/** The main thread meets the signal, and goes no further. */
function takeAway(pid: number, tid: number): void {
  const mask = ptrace.getSignalMask(tid);
  ptrace.setSignalMask(tid, ALL_SIGNALS & ~CONT_BIT);
  try {
    for (;;) {
      ptrace.resume(tid);
      const status = waitThread(tid);
      if (status.kind !== 'stopped') throw new KernelError(`continue process ${pid}`, ESRCH);
      if (status.event === 0 && status.signal === SIGNAL.CONT) return;
    }
  } finally {
    ptrace.setSignalMask(tid, mask);
  }
}

function detach(tid: number): void {
  try {
    ptrace.detach(tid);
  } catch (error) {
    if (!(error instanceof KernelError) || (error.errno !== ESRCH && error.errno !== EPERM)) throw error;
  }
}
