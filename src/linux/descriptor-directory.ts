import { ENOENT, KernelError } from './errno.ts';
import { type FileStatus, statAt } from './file-descriptors.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const LINK_BYTES = 4200;
const INFO_BYTES = 1 << 14;
const LISTING_BYTES = 1 << 15;

/**
 * /proc/PID/fd and /proc/PID/fdinfo of a process, by system calls on two directory descriptors that stay open: about four
 * times as fast as by path through Node's `fs`, and this is read while the process is stopped.
 *
 * Every method throws KernelError ENOENT for a number that is not open (any more).
 */
export class DescriptorDirectory {
  readonly pid: number;
  readonly #links: number;
  readonly #infos: number;
  readonly #link = Buffer.alloc(LINK_BYTES);
  #info = Buffer.alloc(INFO_BYTES);

  /** @throws KernelError ENOENT: no such process. */
  constructor(pid: number) {
    this.pid = pid;
    this.#links = openDirectory(`/proc/${pid}/fd`);
    try {
      this.#infos = openDirectory(`/proc/${pid}/fdinfo`);
    } catch (error) {
      closeDescriptor(this.#links);
      throw error;
    }
  }

  /** The open numbers, ascending. */
  numbers(): number[] {
    const found: number[] = [];
    const listing = Buffer.alloc(LISTING_BYTES);
    syscall(`lseek in /proc/${this.pid}/fd`, SYS.lseek, this.#links, 0, 0);
    for (;;) {
      const length = syscall(`list /proc/${this.pid}/fd`, SYS.getdents64, this.#links, listing, listing.length);
      if (length === 0) return found.sort((a, b) => a - b);
      // struct linux_dirent64: u64 inode, s64 offset, u16 record length, u8 type, name with a NUL
      for (let at = 0; at < length; at += listing.readUInt16LE(at + 16)) {
        const name = listing.toString('latin1', at + 19, listing.indexOf(0, at + 19));
        if (name !== '.' && name !== '..') found.push(Number(name));
      }
    }
  }

  /** What the link of a descriptor says: a path, or `pipe:[1234]` and the like. Bytes, since a path may be any. */
  link(number: number): Buffer {
    const length = trySyscall(SYS.readlinkat, this.#links, cString(String(number)), this.#link, LINK_BYTES);
    if (length < 0) throw new KernelError(`readlink of descriptor ${number} of process ${this.pid}`, -length);
    return Buffer.from(this.#link.subarray(0, length));
  }

  /** The text of /proc/PID/fdinfo/NUMBER. */
  info(number: number): string {
    const what = `open fdinfo of descriptor ${number} of process ${this.pid}`;
    const file = syscall(what, SYS.openat, this.#infos, cString(String(number)), O.RDONLY | O.CLOEXEC);
    try {
      for (let length = 0; ; ) {
        const rest = this.#info.subarray(length);
        const count = syscall(`read fdinfo of descriptor ${number}`, SYS.read, file, rest, rest.length);
        length += count;
        // The kernel makes this file in one piece: a read that has room left has read all of it.
        if (count < rest.length) return this.#info.toString('latin1', 0, length);
        this.#info = Buffer.concat([this.#info, Buffer.alloc(this.#info.length)]);
      }
    } finally {
      closeDescriptor(file);
    }
  }

  /** The status of what a descriptor refers to. */
  status(number: number): FileStatus {
    const status = statAt(this.#links, cString(String(number)));
    if (status === null) throw new KernelError(`stat of descriptor ${number} of process ${this.pid}`, ENOENT);
    return status;
  }

  /** Opens what a descriptor refers to anew, also where it has no name any more. The caller closes the result. */
  reopen(number: number, flags: number): number {
    const what = `open descriptor ${number} of process ${this.pid} anew`;
    return syscall(what, SYS.openat, this.#links, cString(String(number)), flags | O.CLOEXEC);
  }

  close(): void {
    closeDescriptor(this.#links);
    closeDescriptor(this.#infos);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function openDirectory(path: string): number {
  return syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), O.RDONLY | O.DIRECTORY | O.CLOEXEC);
}
