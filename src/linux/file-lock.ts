/** flock(2): a lock that ends with the process that holds it, however that ends. */
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/** Locks an open file or directory until the descriptor is closed. @returns false when somebody else has it. */
export function tryLockFile(fd: number): boolean {
  return tryLock(fd, LOCK_EX);
}

/** The same, together with others who ask for no more. @returns false when somebody has it for himself. */
export function tryShareFile(fd: number): boolean {
  return tryLock(fd, LOCK_SH);
}

function tryLock(fd: number, how: number): boolean {
  for (;;) {
    const result = trySyscall(SYS.flock, fd, how | LOCK_NB);
    if (result >= 0) return true;
    if (result === -EAGAIN) return false;
    if (result !== -EINTR) throw new KernelError('flock', -result);
  }
}
