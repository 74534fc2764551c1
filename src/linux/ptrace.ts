/**
 * ptrace(2), one wrapper a request. Every call must come from the thread that seized the tracee: the kernel answers
 * ESRCH to any other.
 */
import { KernelError } from './errno.ts';
import { type Argument, addressOf, trySyscall } from './libc.ts';
import type { Registers } from './registers.ts';
import { SYS } from './syscall-numbers.ts';

/** Requests, from linux/ptrace.h. */
const REQUEST = {
  CONT: 7,
  GETREGS: 12,
  SETREGS: 13,
  DETACH: 17,
  SYSCALL: 24,
  SETOPTIONS: 0x4200,
  GETEVENTMSG: 0x4201,
  GETREGSET: 0x4204,
  SETREGSET: 0x4205,
  SEIZE: 0x4206,
  INTERRUPT: 0x4207,
  PEEKSIGINFO: 0x4209,
  GETSIGMASK: 0x420a,
  SETSIGMASK: 0x420b,
  GET_RSEQ_CONFIGURATION: 0x420f,
} as const;

/** PTRACE_O_*. */
export const TRACE_OPTION = {
  SYSGOOD: 1 << 0,
  FORK: 1 << 1,
  VFORK: 1 << 2,
  CLONE: 1 << 3,
  EXEC: 1 << 4,
  EXIT: 1 << 6,
  /** The tracee is killed when its tracer ends. */
  EXITKILL: 1 << 20,
  /** Seccomp filters of the tracee do not apply while it is traced; needs CAP_SYS_ADMIN. */
  SUSPEND_SECCOMP: 1 << 21,
} as const;

/** PTRACE_EVENT_*, as {@link WaitStatus} carries them. */
export const TRACE_EVENT = { FORK: 1, VFORK: 2, CLONE: 3, EXEC: 4, VFORK_DONE: 5, EXIT: 6, STOP: 128 } as const;

/** Register sets, from linux/elf.h. */
export const REGISTER_SET = { PRSTATUS: 1, X86_XSTATE: 0x202 } as const;

type RequestName = keyof typeof REQUEST;

function tryRequest(name: RequestName, tid: number, address: Argument, data: Argument): number {
  return trySyscall(SYS.ptrace, REQUEST[name], tid, address, data);
}

function request(name: RequestName, tid: number, address: Argument = 0, data: Argument = 0): number {
  const result = tryRequest(name, tid, address, data);
  if (result < 0) throw new KernelError(`ptrace ${name} of thread ${tid}`, -result);
  return result;
}

/** Attaches without stopping. `options` of {@link TRACE_OPTION}. @throws KernelError EPERM: somebody else traces it. */
export function seize(tid: number, options = 0): void {
  request('SEIZE', tid, 0, options);
}

/** Asks a seized thread to stop; the stop is reported as TRACE_EVENT.STOP by wait. */
export function interrupt(tid: number): void {
  request('INTERRUPT', tid);
}

/** Lets a stopped thread run, delivering `signal` (0: none; in a signal-delivery stop that suppresses the signal). */
export function resume(tid: number, signal = 0): void {
  request('CONT', tid, 0, signal);
}

/** Runs to the next system call's entry or exit. @param signal as for {@link resume}. */
export function resumeToSyscall(tid: number, signal = 0): void {
  request('SYSCALL', tid, 0, signal);
}

/** Lets go of a stopped thread, which runs on. */
export function detach(tid: number, signal = 0): void {
  request('DETACH', tid, 0, signal);
}

export function setOptions(tid: number, options: number): void {
  request('SETOPTIONS', tid, 0, options);
}

const message = Buffer.alloc(8);
/** What belongs to the last event: after CLONE and FORK the new thread's id in the tracer's PID namespace. */
export function eventMessage(tid: number): number {
  request('GETEVENTMSG', tid, 0, message);
  return Number(message.readBigUInt64LE(0));
}

export function getRegisters(tid: number, into: Registers): void {
  request('GETREGS', tid, 0, into.bytes);
}

export function setRegisters(tid: number, from: Registers): void {
  request('SETREGS', tid, 0, from.bytes);
}

const vector = Buffer.alloc(16);
/** Reads a register set of {@link REGISTER_SET}. @returns how many bytes of `into` it filled. */
export function getRegisterSet(tid: number, type: number, into: Buffer): number {
  vector.writeBigUInt64LE(addressOf(into), 0);
  vector.writeBigUInt64LE(BigInt(into.length), 8);
  request('GETREGSET', tid, type, vector);
  return Number(vector.readBigUInt64LE(8));
}

export function setRegisterSet(tid: number, type: number, from: Uint8Array): void {
  vector.writeBigUInt64LE(addressOf(from), 0);
  vector.writeBigUInt64LE(BigInt(from.length), 8);
  request('SETREGSET', tid, type, vector);
}

const mask = Buffer.alloc(8);
/** Signal mask, bit n-1 for signal n. In a wait with a mask of its own (ppoll) this is the mask that will be put back. */
export function getSignalMask(tid: number): bigint {
  request('GETSIGMASK', tid, 8, mask);
  return mask.readBigUInt64LE(0);
}

/** SIGKILL and SIGSTOP stay unblocked whatever is asked. */
export function setSignalMask(tid: number, value: bigint): void {
  mask.writeBigUInt64LE(value, 0);
  request('SETSIGMASK', tid, 8, mask);
}

/** The restartable-sequence area that a thread has registered (linux/rseq.h); `address` 0n: none. */
export type RseqRegistration = {
  readonly address: bigint;
  readonly size: number;
  readonly signature: number;
  readonly flags: number;
};

const rseq = Buffer.alloc(24);
export function getRseq(tid: number): RseqRegistration {
  request('GET_RSEQ_CONFIGURATION', tid, rseq.length, rseq);
  return {
    address: rseq.readBigUInt64LE(0),
    size: rseq.readUInt32LE(8),
    signature: rseq.readUInt32LE(12),
    flags: rseq.readUInt32LE(16),
  };
}

/** Size of a siginfo_t. */
const SIGINFO_BYTES = 128;
const PEEKSIGINFO_SHARED = 1;
const peekArguments = Buffer.alloc(16);
const peeked = Buffer.alloc(32 * SIGINFO_BYTES);
/**
 * The signals that wait for a thread, oldest first, as siginfo_t of {@link SIGINFO_BYTES}; they go on waiting.
 *
 * @param shared the queue of the whole process instead of the thread's own.
 */
export function peekSignals(tid: number, shared: boolean): Buffer[] {
  const found: Buffer[] = [];
  for (;;) {
    peekArguments.writeBigUInt64LE(BigInt(found.length), 0);
    peekArguments.writeUInt32LE(shared ? PEEKSIGINFO_SHARED : 0, 8);
    peekArguments.writeInt32LE(32, 12);
    const count = request('PEEKSIGINFO', tid, peekArguments, peeked);
    for (let index = 0; index < count; index++)
      found.push(Buffer.from(peeked.subarray(index * SIGINFO_BYTES, (index + 1) * SIGINFO_BYTES)));
    if (count < 32) return found;
  }
}
