/** Advisory locks of files: flock(2), and byte ranges by fcntl(2). */
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
/** struct flock of x86-64. */
const FLOCK_BYTES = 32;

export const F_SETLK = 6;

type FileLock = {
  readonly type: 'flock' | 'posix' | 'ofd';
  readonly exclusive: boolean;
  readonly start: bigint;
  /** The last byte; null: to the end of the file. */
  readonly end: bigint | null;
};

/** Takes a lock that belongs to an open file description. @throws KernelError EAGAIN: somebody else has it. */
export function lockFile(descriptor: number, lock: FileLock): void {
  if (lock.type === 'flock') {
    syscall('flock', SYS.flock, descriptor, (lock.exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
  } else {
    syscall('F_OFD_SETLK', SYS.fcntl, descriptor, F_OFD_SETLK, encodeLock(lock));
  }
}

/** The struct flock that asks for a range. */
export function encodeLock({ exclusive, start, end }: FileLock): Buffer {
  const bytes = Buffer.alloc(FLOCK_BYTES);
  bytes.writeInt16LE(exclusive ? F_WRLCK : F_RDLCK, 0);
  // l_whence at 2 is SEEK_SET; a length of 0 reaches to the end of the file.
  bytes.writeBigInt64LE(start, 8);
  bytes.writeBigInt64LE(end === null ? 0n : end - start + 1n, 16);
  return bytes;
}
