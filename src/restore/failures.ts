/** What went wrong while a process was built, as an operator is told it: the thing, the cause, the next step. */
import { ComicranError } from '../base/errors.ts';
import { describeEnd, hintOfEnd, type ProcessEnd } from '../base/process-end.ts';
import { EACCES, EMFILE, ENOMEM, ENOSPC, EPERM, ESRCH, KernelError } from '../linux/errno.ts';

const HINTS: ReadonlyMap<number, string> = new Map([
  [ENOMEM, 'The destination has too little memory: free some there, or choose another machine.'],
  [ENOSPC, 'The destination has no room left on a file system or for another kernel object: make some there.'],
  [EMFILE, 'The daemon at the destination has too many files open: raise its limit (LimitNOFILE), start it again.'],
  [EPERM, 'Something keeps the daemon at the destination from it: it needs root, and no security module in its way.'],
  [EACCES, 'Something keeps the daemon at the destination from it: it needs root, and no security module in its way.'],
]);
const HINT =
  "This is what the kernel of the destination answered; its log ('dmesg') and the daemon's may say more. Try again, or choose another machine.";

/** A system call that failed at the destination. */
export function explainKernelError(what: string, cause: KernelError): ComicranError {
  return new ComicranError('process.trace', `${what}: ${cause.message}`, {
    cause,
    hint: HINTS.get(cause.errno) ?? HINT,
  });
}

/** @param what has ended: 'the process that was being built' */
export function hasEnded(what: string, end: ProcessEnd, cause?: unknown): ComicranError {
  return new ComicranError('process.trace', `${what} at the destination has ended, ${describeEnd(end)}`, {
    cause,
    hint: hintOfEnd(end, 'the destination'),
  });
}

/** Whether a step failed because there is nothing any more that it could be done to. */
export function isGone(cause: unknown): boolean {
  if (cause instanceof KernelError) return cause.errno === ESRCH;
  return cause instanceof ComicranError && cause.code === 'process.gone';
}

export type WhatEnded = {
  /** The process that was being built. */
  readonly process: ProcessEnd | undefined;
  /** The idle process that it is made by. */
  readonly hatchery: ProcessEnd | undefined;
};

/** What to throw instead of what was thrown: a call that failed because one of the two has ended is no matter of the call. */
export function restoreFailure(cause: unknown, { process, hatchery }: WhatEnded): unknown {
  const isCall = cause instanceof KernelError;
  const isTrace = cause instanceof ComicranError && (cause.code === 'process.gone' || cause.code === 'process.trace');
  if (!isCall && !isTrace) return cause;
  if (process !== undefined) return hasEnded('the process that was being built', process, cause);
  if (hatchery !== undefined) return hasEnded("the idle process in the sandbox's skeleton", hatchery, cause);
  return isCall ? explainKernelError('the process cannot be restored', cause) : cause;
}
