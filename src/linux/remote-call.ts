/** System calls to be made inside another process. */
import { KernelError } from './errno.ts';

/** A number, or an address in the tracee. */
export type RemoteArgument = number | bigint;

/** A system call for Tracee.batch. */
export type RemoteCall = {
  /** What is being done and to what, for the error: `open /etc/hosts`. */
  readonly what: string;
  readonly number: number;
  readonly args: readonly RemoteArgument[];
  /** A failure is an answer: its negative errno is returned. */
  readonly mayFail?: boolean;
};

/** Eight words: number, six arguments, result. */
export const CALL_BYTES = 64;
export const RESULT_OFFSET = 56;

/** The calls as the agent's loop takes them. */
export function encodeCalls(calls: readonly RemoteCall[]): Buffer {
  const table = Buffer.alloc(calls.length * CALL_BYTES);
  for (const [index, { number, args }] of calls.entries()) {
    table.writeUInt32LE(number, index * CALL_BYTES);
    for (const [position, argument] of args.entries())
      writeWord(table, index * CALL_BYTES + 8 + position * 8, argument);
  }
  return table;
}

/** @returns the results. @throws KernelError for the first that failed and must not. */
export function checkResults(pid: number, calls: readonly RemoteCall[], results: readonly bigint[]): readonly bigint[] {
  for (const [index, { what, mayFail }] of calls.entries())
    if (mayFail !== true) checkResult(pid, what, results[index]!);
  return results;
}

export function checkResult(pid: number, what: string, result: bigint): bigint {
  if (result < 0n && result > -4096n) throw new KernelError(`${what} in process ${pid}`, Number(-result));
  return result;
}

function writeWord(into: Buffer, offset: number, value: RemoteArgument): void {
  if (typeof value === 'number' && value >= 0 && value <= 0xffff_ffff) into.writeUInt32LE(value, offset);
  else into.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), offset);
}
