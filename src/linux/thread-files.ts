/** One file of /proc/PID/task/TID for every thread of a process; open, so that a read is one system call. */
import { EBADF, ESRCH, KernelError } from './errno.ts';
import { cString, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { listThreads } from './procfs.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;

export class ThreadFiles {
  readonly #pid: number;
  readonly #name: string;
  /** Descriptors by TID. */
  readonly #files = new Map<number, number>();

  /** @param name of the file: `stat`. */
  constructor(pid: number, name: string) {
    this.#pid = pid;
    this.#name = name;
  }

  /** The threads whose files are open. */
  get tids(): IterableIterator<number> {
    return this.#files.keys();
  }

  has(tid: number): boolean {
    return this.#files.has(tid);
  }

  /** Opens the files of all threads that there are. @throws ComicranError process.gone */
  prepare(): void {
    const tids = listThreads(this.#pid);
    // A number may have been given to another thread.
    for (const [tid, file] of this.#files) {
      if (tids.includes(tid) && trySyscall(SYS.pread64, file, probe, 1, 0) === 1) continue;
      closeDescriptor(file);
      this.#files.delete(tid);
    }
    for (const tid of tids) this.open(tid);
  }

  /** Does nothing for a thread that has ended. */
  open(tid: number): void {
    if (this.#files.has(tid)) return;
    const path = cString(`/proc/${this.#pid}/task/${tid}/${this.#name}`);
    const file = trySyscall(SYS.openat, AT_FDCWD, path, O.RDONLY | O.CLOEXEC);
    if (file >= 0) this.#files.set(tid, file);
  }

  /** @returns how many bytes of `into` have been filled. @throws KernelError ESRCH: the thread has ended. */
  read(tid: number, into: Uint8Array): number {
    const file = this.#files.get(tid);
    const length = file === undefined ? -ESRCH : trySyscall(SYS.pread64, file, into, into.length, 0);
    if (length < 0) throw new KernelError(`read ${this.#name} of thread ${tid}`, length === -EBADF ? ESRCH : -length);
    return length;
  }

  close(): void {
    for (const file of this.#files.values()) closeDescriptor(file);
    this.#files.clear();
  }
}

const probe = Buffer.alloc(1);
