/** seccomp(2): filters on system calls, as classic BPF programs. */
import { EACCES, EINVAL, EIO, ENOENT, EPERM, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const PTRACE_SECCOMP_GET_FILTER = 0x420c;

/** struct sock_filter of linux/filter.h: code, jump if true, jump if false, constant. */
const FILTER_INSTRUCTION_BYTES = 8;
/** struct sock_fprog: length, padding, pointer. */
const FILTER_PROGRAM_BYTES = 16;
/** BPF_MAXINSNS. */
const MAX_INSTRUCTIONS = 4096;

const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const RETURN = 0x06;
/** Offsets in struct seccomp_data. */
const DATA_NUMBER = 0;
const DATA_ARCHITECTURE = 4;
const ARCHITECTURE_X86_64 = 0xc000003e;
const RETURN_ALLOW = 0x7fff0000;
const RETURN_ERRNO = 0x00050000;

/** A filter under which some system calls fail with an errno, and all others are as before. */
export function denyingFilter(numbers: readonly number[], errno: number): Buffer {
  const instructions: [number, number, number, number][] = [
    [LOAD_WORD, 0, 0, DATA_ARCHITECTURE],
    [JUMP_EQUAL, 0, numbers.length + 1, ARCHITECTURE_X86_64],
    [LOAD_WORD, 0, 0, DATA_NUMBER],
    ...numbers.map((number, index): [number, number, number, number] => [
      JUMP_EQUAL,
      numbers.length - index,
      0,
      number,
    ]),
    [RETURN, 0, 0, RETURN_ALLOW],
    [RETURN, 0, 0, RETURN_ERRNO | errno],
  ];
  const program = Buffer.alloc(instructions.length * FILTER_INSTRUCTION_BYTES);
  for (const [index, [code, whenTrue, whenFalse, constant]] of instructions.entries()) {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(whenTrue, index * 8 + 2);
    program.writeUInt8(whenFalse, index * 8 + 3);
    program.writeUInt32LE(constant >>> 0, index * 8 + 4);
  }
  return program;
}

/**
 * The calls of io_uring. A program that has a ring cannot be moved: what is on its way in it is nowhere to be read.
 * Programs do without where there is none (ENOSYS), Node among them.
 */
export const IO_URING_CALLS = [SYS.io_uring_setup, SYS.io_uring_enter, SYS.io_uring_register] as const;

/** struct sock_fprog for a program that stands at an address. */
export function filterHeader(program: Uint8Array, address: bigint): Buffer {
  const header = Buffer.alloc(FILTER_PROGRAM_BYTES);
  header.writeUInt16LE(program.length / FILTER_INSTRUCTION_BYTES, 0);
  header.writeBigUInt64LE(address, 8);
  return header;
}

/**
 * The filters of a stopped tracee, the oldest first (get_nth_filter of kernel/seccomp.c; ptrace(2) has it the other way).
 *
 * @returns null where they cannot be read: this thread has a filter itself, lacks CAP_SYS_ADMIN, or the kernel was built
 *   without CONFIG_CHECKPOINT_RESTORE.
 */
export function readFilters(tid: number): Buffer[] | null {
  const filters: Buffer[] = [];
  const into = Buffer.alloc(MAX_INSTRUCTIONS * FILTER_INSTRUCTION_BYTES);
  for (;;) {
    const count = trySyscall(SYS.ptrace, PTRACE_SECCOMP_GET_FILTER, tid, filters.length, into);
    // EINVAL: the thread is not in filter mode.
    if (count === -ENOENT || count === -EINVAL) return filters;
    if (count === -EACCES || count === -EPERM || count === -EIO) return null;
    if (count < 0) throw new KernelError(`read the seccomp filters of thread ${tid}`, -count);
    filters.push(Buffer.from(into.subarray(0, count * FILTER_INSTRUCTION_BYTES)));
  }
}
