/**
 * userfaultfd (ioctl_userfaultfd(2), linux/userfaultfd.h): told of faults in a range of a process's memory, or of nothing but
 * which of its pages have been written.
 *
 * Only making the descriptor has to be done by the process whose memory it is about. Everything here may be called on a copy
 * of it (pidfd_getfd) by another process: the addresses are those of the process that made it.
 */
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { SYS } from './syscall-numbers.ts';

/** Flags of userfaultfd(2) and of USERFAULTFD_IOC_NEW; poll needs NONBLOCK. */
export const USERFAULTFD_FLAGS = O.CLOEXEC | O.NONBLOCK;
/** A flag of userfaultfd(2): faults in the kernel (recvfrom into a missing page) are not served. Needs no privilege. */
export const USER_MODE_ONLY = 1;
/** An ioctl of /dev/userfaultfd, with the flags as argument. @returns a descriptor, also where userfaultfd(2) is EPERM. */
export const USERFAULTFD_IOC_NEW = 0xaa00;

/** Requests, `_IOWR(0xaa, …)`. */
export const UFFDIO = {
  API: 0xc018aa3f,
  REGISTER: 0xc020aa00,
  UNREGISTER: 0x8010aa01,
  WAKE: 0x8010aa02,
  COPY: 0xc028aa03,
  ZEROPAGE: 0xc020aa04,
  WRITEPROTECT: 0xc018aa06,
} as const;

/** UFFD_API. */
const API = 0xaan;

/** UFFD_FEATURE_*. */
export const FEATURE = {
  PAGEFAULT_FLAG_WP: 1 << 0,
  EVENT_FORK: 1 << 1,
  EVENT_REMAP: 1 << 2,
  EVENT_REMOVE: 1 << 3,
  EVENT_UNMAP: 1 << 6,
  THREAD_ID: 1 << 8,
  WP_HUGETLBFS_SHMEM: 1 << 12,
  /** 6.4: pages that do not exist can be write-protected too. */
  WP_UNPOPULATED: 1 << 13,
  /** 6.7: a write to a protected page is noted (PAGEMAP_SCAN) and goes on at once; nobody is asked. */
  WP_ASYNC: 1 << 15,
} as const;

/** UFFDIO_REGISTER_MODE_*. */
export const REGISTER_MODE = { MISSING: 1, WP: 2 } as const;
/** UFFDIO_COPY_MODE_*, UFFDIO_ZEROPAGE_MODE_*: not to wake who waits; to leave the page write-protected ("not written"). */
export const COPY_MODE = { DONTWAKE: 1, WP: 2 } as const;

const argument = Buffer.alloc(40);

function tryControl(descriptor: number, request: number, ...words: readonly (bigint | number)[]): number {
  for (;;) {
    for (const [index, word] of words.entries()) argument.writeBigUInt64LE(BigInt(word), index * 8);
    const result = trySyscall(SYS.ioctl, descriptor, request, argument);
    if (result !== -EINTR) return result;
  }
}

function control(what: string, descriptor: number, request: number, ...words: readonly (bigint | number)[]): void {
  const result = tryControl(descriptor, request, ...words);
  if (result < 0) throw new KernelError(what, -result);
}

const range = (start: bigint, length: bigint): string => `0x${start.toString(16)}+0x${length.toString(16)}`;

/** The handshake, once for each descriptor. @param features a mask of {@link FEATURE}. @throws KernelError EINVAL: not known here. */
export function enableFeatures(descriptor: number, features: number): void {
  control(`userfaultfd features 0x${features.toString(16)}`, descriptor, UFFDIO.API, API, features, 0);
}

/** Whether the kernel notes writes without asking anybody (WP_ASYNC), tried on this process. */
export function hasWriteNotes(): boolean {
  const descriptor = trySyscall(SYS.userfaultfd, USERFAULTFD_FLAGS | USER_MODE_ONLY);
  if (descriptor < 0) return false;
  try {
    enableFeatures(descriptor, FEATURE.WP_ASYNC | FEATURE.WP_UNPOPULATED);
    return true;
  } catch {
    return false;
  } finally {
    trySyscall(SYS.close, descriptor);
  }
}

/**
 * @param mode a mask of {@link REGISTER_MODE}.
 * @returns 0 or a negative errno: -EINVAL where the range has a hole or memory that cannot be, -EBUSY where another
 *   userfaultfd has it, -EPERM for shared memory of a file that may not be written.
 */
export function tryRegister(descriptor: number, start: bigint, length: bigint, mode: number): number {
  return tryControl(descriptor, UFFDIO.REGISTER, start, length, mode, 0);
}

/** As {@link tryRegister}. @throws KernelError */
export function register(descriptor: number, start: bigint, length: bigint, mode: number): void {
  control(`register ${range(start, length)}`, descriptor, UFFDIO.REGISTER, start, length, mode, 0);
}

/**
 * Whoever waits in the range is woken; its pages are as if they had never been registered.
 *
 * @returns 0 or a negative errno: -EINVAL nothing is mapped there, or something that cannot be registered.
 */
export function tryUnregister(descriptor: number, start: bigint, length: bigint): number {
  return tryControl(descriptor, UFFDIO.UNREGISTER, start, length);
}

/** Lets threads that wait for pages of the range look again. */
export function wake(descriptor: number, start: bigint, length: bigint): void {
  control(`wake ${range(start, length)}`, descriptor, UFFDIO.WAKE, start, length);
}

/**
 * Puts pages where none are.
 *
 * @param pages whole pages.
 * @param mode a mask of {@link COPY_MODE}.
 * @returns how many bytes were put, which may be fewer than asked for; or a negative errno: -EEXIST there is a page already,
 *   -EAGAIN an event (fork, remap, remove, unmap) has to be read first, -ENOENT the area is gone, -ESRCH the process is.
 */
export function tryCopy(descriptor: number, target: bigint, pages: Uint8Array, mode = 0): number {
  return answered(
    tryControl(descriptor, UFFDIO.COPY, target, addressOf(pages), pages.length, mode, 0),
    32,
    pages.length,
  );
}

/** Puts zero pages where none are. As {@link tryCopy}. */
export function tryZero(descriptor: number, target: bigint, length: number, mode = 0): number {
  return answered(tryControl(descriptor, UFFDIO.ZEROPAGE, target, length, mode, 0), 24, length);
}

/** A call that was cut short says so by an error, and in the last field of its argument how far it got. */
function answered(result: number, field: number, length: number): number {
  if (result === 0) return length;
  const done = Number(argument.readBigInt64LE(field));
  return done > 0 ? done : result;
}

/** A message of struct uffd_msg. */
export type FaultMessage =
  | {
      readonly event: 'fault';
      readonly address: bigint;
      /** It is a write; absent: a read. */
      readonly write: boolean;
      /** The page is there, and write-protected. */
      readonly protected: boolean;
      /** The thread that waits, with FEATURE.THREAD_ID. */
      readonly tid: number;
    }
  /** A child has come, with a userfaultfd of its own for its copies of the ranges: a descriptor of the reader's. */
  | { readonly event: 'fork'; readonly descriptor: number }
  | { readonly event: 'remap'; readonly from: bigint; readonly to: bigint; readonly length: bigint }
  /** Pages were thrown away (madvise), the range stays registered. */
  | { readonly event: 'remove'; readonly start: bigint; readonly end: bigint }
  | { readonly event: 'unmap'; readonly start: bigint; readonly end: bigint };

export const MESSAGE_BYTES = 32;
const EVENT = { PAGEFAULT: 0x12, FORK: 0x13, REMAP: 0x14, REMOVE: 0x15, UNMAP: 0x16 } as const;
const FAULT_FLAG = { WRITE: 1, WP: 2 } as const;

/** @throws Error for an event that is not known: none comes that was not asked for by its feature. */
export function decodeMessage(bytes: Buffer, at = 0): FaultMessage {
  const word = (index: number): bigint => bytes.readBigUInt64LE(at + 8 + index * 8);
  const code = bytes[at];
  switch (code) {
    case EVENT.PAGEFAULT: {
      const flags = Number(word(0));
      return {
        event: 'fault',
        address: word(1),
        write: (flags & FAULT_FLAG.WRITE) !== 0,
        protected: (flags & FAULT_FLAG.WP) !== 0,
        tid: bytes.readUInt32LE(at + 24),
      };
    }
    case EVENT.FORK:
      return { event: 'fork', descriptor: bytes.readUInt32LE(at + 8) };
    case EVENT.REMAP:
      return { event: 'remap', from: word(0), to: word(1), length: word(2) };
    case EVENT.REMOVE:
      return { event: 'remove', start: word(0), end: word(1) };
    case EVENT.UNMAP:
      return { event: 'unmap', start: word(0), end: word(1) };
    default:
      throw new Error(`a userfaultfd message of kind ${code}`);
  }
}

/**
 * Reads the messages that wait.
 *
 * @param buffer for as many messages as are wanted at once; overwritten by the next call.
 * @returns how many bytes of messages there are: 0 when none waits.
 */
export function readMessages(descriptor: number, buffer: Buffer): number {
  for (;;) {
    const count = trySyscall(SYS.read, descriptor, buffer, buffer.length);
    if (count === -EAGAIN) return 0;
    if (count >= 0) return count;
    if (count !== -EINTR) throw new KernelError('read userfaultfd', -count);
  }
}
