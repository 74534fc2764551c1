/** clone3(2) in a tracee: its argument, and the stop that its child begins with. */
import { ComicranError } from '../base/errors.ts';
import { TRACE_EVENT } from './ptrace.ts';
import { SIGNAL } from './signals.ts';
import type { WaitStatus } from './wait.ts';

/** struct clone_args of linux/sched.h as of version 2. */
export const CLONE_ARGUMENTS_BYTES = 88;
const SET_TID = 64;
const SET_TID_SIZE = 72;

/**
 * @param at the address of the structure and the list of ids behind it: CLONE_ARGUMENTS_BYTES + 8 bytes.
 * @param tid null: whatever comes next.
 */
export function encodeCloneArguments(at: bigint, flags: number, tid: number | null): Buffer {
  const bytes = Buffer.alloc(CLONE_ARGUMENTS_BYTES + 8);
  bytes.writeBigUInt64LE(BigInt(flags >>> 0), 0);
  if (tid === null) return bytes;
  bytes.writeBigUInt64LE(at + BigInt(CLONE_ARGUMENTS_BYTES), SET_TID);
  bytes.writeBigUInt64LE(1n, SET_TID_SIZE);
  bytes.writeInt32LE(tid, CLONE_ARGUMENTS_BYTES);
  return bytes;
}

/** A new or interrupted tracee stops in just this way. */
export function expectStop(tid: number, status: WaitStatus): void {
  if (status.kind === 'stopped' && status.event === TRACE_EVENT.STOP && status.signal === SIGNAL.TRAP) return;
  if (status.kind !== 'stopped') throw new ComicranError('process.gone', `thread ${tid} has ended`);
  throw new ComicranError('process.trace', `thread ${tid} stopped in an unforeseen way: ${JSON.stringify(status)}`);
}
