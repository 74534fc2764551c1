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

/** Machine code of every loop over such calls: makes the one at rbx, goes to the next, and counts it off r12. */
export const MAKE_NEXT_CALL = [
  '488b03', //   mov rax, [rbx]
  '488b7b08', // mov rdi, [rbx+8]
  '488b7310', // mov rsi, [rbx+16]
  '488b5318', // mov rdx, [rbx+24]
  '4c8b5320', // mov r10, [rbx+32]
  '4c8b4328', // mov r8, [rbx+40]
  '4c8b4b30', // mov r9, [rbx+48]
  '0f05', //     syscall
  '48894338', // mov [rbx+56], rax
  '4883c340', // add rbx, 64
  '49ffcc', //   dec r12
].join('');

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
