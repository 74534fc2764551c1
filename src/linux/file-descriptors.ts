/** Calls on open descriptors of this process: status, flags, position, pipes, readiness. */
import { decodeDevice } from './device-number.ts';
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { syscall, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FIONREAD = 0x541b;
const SPLICE_F_NONBLOCK = 2;
const SEEK_SET = 0;

export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

export const POLL = { IN: 1, OUT: 4, ERR: 8, HUP: 0x10, RDHUP: 0x2000 } as const;

/** struct stat of x86-64 (asm/stat.h), in bytes. */
const STAT_BYTES = 144;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

export type FileStatus = {
  readonly device: bigint;
  readonly inode: bigint;
  readonly links: bigint;
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of a device node. */
  readonly major: number;
  readonly minor: number;
  /** Bytes. */
  readonly size: bigint;
};

/**
 * The status of a file. @param path ends with a NUL. @param directory a descriptor that a relative path starts at; null:
 * the path is absolute. @param follow symbolic links at its end. @returns null when there is no such file.
 */
export function statAt(directory: number | null, path: Uint8Array, follow = true): FileStatus | null {
  const bytes = Buffer.alloc(STAT_BYTES);
  const flags = follow ? 0 : AT_SYMLINK_NOFOLLOW;
  const result = trySyscall(SYS.newfstatat, directory ?? AT_FDCWD, path, bytes, flags);
  return result < 0 ? null : decodeStat(bytes);
}

/** @throws KernelError */
export function fileStatus(descriptor: number): FileStatus {
  const bytes = Buffer.alloc(STAT_BYTES);
  syscall(`fstat of descriptor ${descriptor}`, SYS.fstat, descriptor, bytes);
  return decodeStat(bytes);
}

function decodeStat(bytes: Buffer): FileStatus {
  return {
    device: bytes.readBigUInt64LE(0),
    inode: bytes.readBigUInt64LE(8),
    links: bytes.readBigUInt64LE(16),
    mode: bytes.readUInt32LE(24),
    uid: bytes.readUInt32LE(28),
    gid: bytes.readUInt32LE(32),
    ...decodeDevice(bytes.readUInt32LE(40)),
    size: bytes.readBigInt64LE(48),
  };
}

/** linux/magic.h. */
export const TMPFS_MAGIC = 0x01021994n;
export const RAMFS_MAGIC = 0x858458f6n;
const STATFS_BYTES = 120;
const ST_RDONLY = 1;

/** The kind of file system that a file is on, and whether it may be written through this mount. @param path ends with a NUL. */
export function fileSystemOf(path: Uint8Array): { readonly type: bigint; readonly readOnly: boolean } {
  const bytes = Buffer.alloc(STATFS_BYTES);
  syscall('statfs', SYS.statfs, path, bytes);
  return { type: bytes.readBigInt64LE(0), readOnly: (bytes.readUInt32LE(80) & ST_RDONLY) !== 0 };
}

export function getStatusFlags(descriptor: number): number {
  return syscall('F_GETFL', SYS.fcntl, descriptor, F_GETFL, 0);
}

/** Sets the flags that can change after opening: O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK. */
export function setStatusFlags(descriptor: number, flags: number): void {
  syscall('F_SETFL', SYS.fcntl, descriptor, F_SETFL, flags);
}

/** Sets the position of an open file description. */
export function seekTo(descriptor: number, position: bigint): void {
  syscall(`lseek to ${position}`, SYS.lseek, descriptor, position, SEEK_SET);
}

/** Bytes of a pipe's buffer. */
export function getPipeCapacity(descriptor: number): number {
  return syscall('F_GETPIPE_SZ', SYS.fcntl, descriptor, F_GETPIPE_SZ, 0);
}

export function setPipeCapacity(descriptor: number, bytes: number): void {
  syscall(`F_SETPIPE_SZ to ${bytes}`, SYS.fcntl, descriptor, F_SETPIPE_SZ, bytes);
}

/** Bytes that can be read from a pipe, a socket or an inotify descriptor. */
export function readableBytes(descriptor: number): number {
  const count = Buffer.alloc(4);
  syscall('FIONREAD', SYS.ioctl, descriptor, FIONREAD, count);
  return count.readInt32LE(0);
}

/** A pipe of this process. The caller closes both ends. */
export function makePipe(flags: number): { readonly readEnd: number; readonly writeEnd: number } {
  const ends = Buffer.alloc(8);
  syscall('pipe2', SYS.pipe2, ends, flags);
  return { readEnd: ends.readInt32LE(0), writeEnd: ends.readInt32LE(4) };
}

/** Copies what a pipe holds into another pipe and leaves it where it is, tee(2). @returns bytes copied. */
export function copyPipe(from: number, to: number, maxBytes: number): number {
  const count = trySyscall(SYS.tee, from, to, maxBytes, SPLICE_F_NONBLOCK);
  if (count === -EAGAIN) return 0;
  if (count < 0) throw new KernelError('tee', -count);
  return count;
}

/** One read. @returns the number of bytes, 0 at the end; null: nothing to read now. */
export function readOnce(descriptor: number, into: Uint8Array): number | null {
  for (;;) {
    const count = trySyscall(SYS.read, descriptor, into, into.length);
    if (count === -EINTR) continue;
    if (count === -EAGAIN) return null;
    if (count < 0) throw new KernelError(`read of descriptor ${descriptor}`, -count);
    return count;
  }
}

/** One write, of all the bytes or of none: for pipes with room, and for files. */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const part = bytes.subarray(done);
    const count = trySyscall(SYS.write, descriptor, part, part.length);
    if (count === -EINTR) continue;
    if (count <= 0) throw new KernelError(`write of ${bytes.length} bytes to descriptor ${descriptor}`, -count);
    done += count;
  }
}

/** The events of {@link POLL} that are true of a descriptor at this moment. */
export function pollNow(descriptor: number, events: number): number {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(descriptor, 0);
  entry.writeInt16LE(events, 4);
  for (;;) {
    // A signal to this program (a child that ends) interrupts it even where it does not wait.
    const result = trySyscall(SYS.poll, entry, 1, 0);
    if (result >= 0) return entry.readUInt16LE(6);
    if (result !== -EINTR) throw new KernelError('poll', -result);
  }
}

/** Owner and permission bits of an open file. */
export function setOwnerAndMode(descriptor: number, uid: number, gid: number, mode: number): void {
  syscall('fchown', SYS.fchown, descriptor, uid, gid);
  // Behind the owner: changing that clears the set-user-ID bit.
  syscall('fchmod', SYS.fchmod, descriptor, mode);
}
