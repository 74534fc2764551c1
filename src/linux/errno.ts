import { constants } from 'node:os';

const NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** The symbolic name of an errno value (a positive number): `EPERM`. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed. `errno` is positive, as in the C library. */
export class KernelError extends Error {
  override readonly name = 'KernelError';
  readonly call: string;
  readonly errno: number;

  /** @param call what was called and on what: `mount /proc`. */
  constructor(call: string, errno: number) {
    super(`${call}: ${errnoName(errno)}`);
    this.call = call;
    this.errno = errno;
  }

  get code(): string {
    return errnoName(this.errno);
  }
}

export const { EPERM, ENOENT, ESRCH, EINTR, EIO, EBADF, ECHILD, EAGAIN, ENOMEM, EACCES, EFAULT, EBUSY, EEXIST } =
  constants.errno;
export const { ENODEV, EINVAL, ENOSPC, ENOSYS, EOPNOTSUPP, EADDRINUSE, ENOBUFS, ETIMEDOUT, ENETDOWN } = constants.errno;
export const { ENOTCONN, ENOPROTOOPT, EADDRNOTAVAIL, EMFILE, EAFNOSUPPORT, ENOEXEC, ENOTDIR } = constants.errno;
export const { ECONNREFUSED, ECONNRESET, ECONNABORTED, EPIPE, EHOSTUNREACH, ENETUNREACH, EINPROGRESS, EMSGSIZE } =
  constants.errno;
