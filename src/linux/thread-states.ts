/** The scheduling states of the threads of a process, from files that stay open. */
import { ComicranError } from '../base/errors.ts';
import { ESRCH, KernelError } from './errno.ts';
import { cString, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { listThreads } from './procfs.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const CLOSING_PARENTHESIS = 0x29;

/** Enough for the state, which stands behind the number and the name (64 bytes at most, and its parentheses). */
const line = Buffer.alloc(128);

export class ThreadStates {
  readonly #pid: number;
  /** Open /proc/PID/task/TID/stat by TID. */
  readonly #files = new Map<number, number>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Opens the files of all threads that there are. @throws ComicranError process.gone */
  prepare(): void {
    const tids = listThreads(this.#pid);
    for (const tid of tids) if (!this.#files.has(tid)) this.#open(tid);
    for (const [tid, file] of this.#files) {
      if (tids.includes(tid)) continue;
      closeDescriptor(file);
      this.#files.delete(tid);
    }
  }

  /**
   * Whether every thread is in one state, a letter of proc_pid_stat(5). Threads that have ended do not count.
   *
   * @throws ComicranError process.gone
   */
  areAll(state: string): boolean {
    if (!this.#areKnownAll(state)) return false;
    // One that began before its parent was seen in that state.
    const tids = listThreads(this.#pid);
    const fresh = tids.filter((tid) => !this.#files.has(tid));
    for (const tid of fresh) this.#open(tid);
    return fresh.length === 0 || this.areAll(state);
  }

  #areKnownAll(state: string): boolean {
    for (const [tid, file] of this.#files) {
      const found = stateOf(file);
      if (found === 'Z' || found === 'X') {
        if (tid === this.#pid) throw new ComicranError('process.gone', `process ${this.#pid} has ended`);
      } else if (found !== state) return false;
    }
    return true;
  }

  #open(tid: number): void {
    const path = cString(`/proc/${this.#pid}/task/${tid}/stat`);
    const file = trySyscall(SYS.openat, AT_FDCWD, path, O.RDONLY | O.CLOEXEC);
    // It has ended meanwhile.
    if (file >= 0) this.#files.set(tid, file);
  }

  close(): void {
    for (const file of this.#files.values()) closeDescriptor(file);
    this.#files.clear();
  }
}

/** One letter; `X` for a thread that is no more. */
function stateOf(file: number): string {
  const length = trySyscall(SYS.pread64, file, line, line.length, 0);
  if (length === -ESRCH) return 'X';
  if (length < 0) throw new KernelError('read the state of a thread', -length);
  return String.fromCharCode(line[line.lastIndexOf(CLOSING_PARENTHESIS, length - 1) + 2]!);
}
