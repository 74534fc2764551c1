/**
 * The only door to the kernel: `syscall(2)` of the C library through koffi.
 *
 * Numbers are for small values, bigints for addresses; a buffer is passed by its address, and the caller keeps it
 * referenced until the call returns. A buffer whose address stands *inside* another buffer (an iovec) is not seen by the
 * garbage collector: its owner must hold both (kernel-notes: the frame is lost or the heap corrupted otherwise).
 */
import koffi from 'koffi';
import { KernelError } from './errno.ts';

/** What a system call takes: a number, an address, or a buffer (its address is passed; null is address 0). */
export type Argument = number | bigint | Uint8Array | null;

const libc = koffi.load('libc.so.6');
const rawSyscall = libc.func(
  'long syscall(long, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t)',
) as (...words: (number | bigint)[]) => number;

/** The address of a buffer's first byte. Valid while the buffer is referenced; buffers do not move. */
export function addressOf(buffer: Uint8Array): bigint {
  return koffi.address(buffer);
}

function word(argument: Argument | undefined): number | bigint {
  if (argument === undefined || argument === null) return 0;
  if (typeof argument === 'number') return argument < 0 ? BigInt.asUintN(64, BigInt(argument)) : argument;
  if (typeof argument === 'bigint') return argument < 0n ? BigInt.asUintN(64, argument) : argument;
  return koffi.address(argument);
}

/** A system call whose failure the caller handles: the result, or the negated errno. */
export function trySyscall(
  number: number,
  a?: Argument,
  b?: Argument,
  c?: Argument,
  d?: Argument,
  e?: Argument,
  f?: Argument,
): number {
  const result = rawSyscall(number, word(a), word(b), word(c), word(d), word(e), word(f));
  return result < 0 ? -koffi.errno() : result;
}

/** A system call that is expected to succeed. @param what names it in the error: `mount /proc`. */
export function syscall(
  what: string,
  number: number,
  a?: Argument,
  b?: Argument,
  c?: Argument,
  d?: Argument,
  e?: Argument,
  f?: Argument,
): number {
  const result = trySyscall(number, a, b, c, d, e, f);
  if (result < 0) throw new KernelError(what, -result);
  return result;
}

/** A string as the kernel takes it: its bytes and a final NUL. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf8');
}
