import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const O_CLOEXEC = 0x80000;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_FD = 0xffffffff;

/** Keeps every open descriptor from `firstFd` on out of programs that this one starts. */
export function closeOnExecFrom(firstFd: number): void {
  syscall('close_range', SYS.close_range, firstFd, LAST_FD, CLOSE_RANGE_CLOEXEC);
}

/**
 * A real pipe (what Node makes for the stdio of a child is a pair of sockets). Both descriptors are close-on-exec and
 * belong to the caller.
 */
export function makePipe(): { readonly readFd: number; readonly writeFd: number } {
  const fds = Buffer.alloc(8);
  syscall('pipe2', SYS.pipe2, fds, O_CLOEXEC);
  return { readFd: fds.readInt32LE(0), writeFd: fds.readInt32LE(4) };
}
