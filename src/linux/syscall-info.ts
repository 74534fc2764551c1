/** What a traced thread is about to ask of the kernel, and what the answer was: PTRACE_GET_SYSCALL_INFO (linux/ptrace.h). */
import { KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const PTRACE_GET_SYSCALL_INFO = 0x420e;
/** struct ptrace_syscall_info: op, arch, instruction and stack pointer, then what belongs to op. */
const INFO_BYTES = 88;
const OP_AT = 0;
const UNION_AT = 24;
const OP_ENTRY = 1;
const OP_EXIT = 2;

export type SyscallStop =
  | { readonly kind: 'entry'; readonly number: number; readonly words: readonly bigint[] }
  /** A negative result is an errno. */
  | { readonly kind: 'exit'; readonly result: bigint }
  | { readonly kind: 'other' };

const info = Buffer.alloc(INFO_BYTES);

/** Of a thread in a system-call stop. @throws KernelError ESRCH: it has gone. */
export function syscallStop(tid: number): SyscallStop {
  const result = trySyscall(SYS.ptrace, PTRACE_GET_SYSCALL_INFO, tid, INFO_BYTES, info);
  if (result < 0) throw new KernelError(`ptrace GET_SYSCALL_INFO of thread ${tid}`, -result);
  const op = info[OP_AT];
  if (op === OP_EXIT) return { kind: 'exit', result: info.readBigInt64LE(UNION_AT) };
  if (op !== OP_ENTRY) return { kind: 'other' };
  const words = [1, 2, 3, 4, 5, 6].map((index) => info.readBigUInt64LE(UNION_AT + 8 * index));
  return { kind: 'entry', number: Number(info.readBigUInt64LE(UNION_AT)), words };
}
