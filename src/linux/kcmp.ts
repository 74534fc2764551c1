/** kcmp(2): whether two descriptors, or two processes, share a kernel object. linux/kcmp.h. */
import { syscall, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const KCMP_FILE = 0;
const KCMP_FILES = 2;
const KCMP_EPOLL_TFD = 7;

/**
 * An order of the open file descriptions behind two descriptors of a process: 0 when they are the same one, else 1 or 2
 * for less and greater, an order that holds while the descriptions live.
 */
export function compareDescriptions(pid: number, first: number, second: number): number {
  const result = syscall(`kcmp of descriptors ${first} and ${second}`, SYS.kcmp, pid, pid, KCMP_FILE, first, second);
  return result === 1 ? -1 : result === 2 ? 1 : 0;
}

/**
 * What to call kcmp(2) with to learn whether a descriptor of this process and one of another are the same open file
 * description: it gives 0 then.
 */
export function sameDescription(
  own: number,
  pid: number,
  descriptor: number,
): [number, number, number, number, number] {
  return [process.pid, pid, KCMP_FILE, own, descriptor];
}

/** Whether a thread has the descriptor table of another. */
export function sharesDescriptorTable(pid: number, tid: number): boolean {
  return syscall(`kcmp of the tables of ${pid} and ${tid}`, SYS.kcmp, pid, tid, KCMP_FILES, 0, 0) === 0;
}

/**
 * Whether a descriptor refers to what an epoll descriptor watches.
 *
 * @param nth which of the items that were added under `watched`, in the order of the epoll's fdinfo; descriptors that
 *   were closed but live on elsewhere make for several.
 */
export function isEpollTarget(pid: number, descriptor: number, epoll: number, watched: number, nth: number): boolean {
  const slot = Buffer.alloc(12);
  slot.writeUInt32LE(epoll, 0);
  slot.writeUInt32LE(watched, 4);
  slot.writeUInt32LE(nth, 8);
  // A failure (EBADF: nothing is open at that number) is an answer too.
  return trySyscall(SYS.kcmp, pid, pid, KCMP_EPOLL_TFD, descriptor, slot) === 0;
}

const KCMP_FS = 3;

/** Whether a thread has the working directory, root directory and umask of another in common with it. */
export function sharesDirectories(pid: number, tid: number): boolean {
  return syscall(`kcmp of the directories of ${pid} and ${tid}`, SYS.kcmp, pid, tid, KCMP_FS, 0, 0) === 0;
}
