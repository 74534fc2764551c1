/** The scheduling states of the threads of a process. */
import { ComicranError } from '../base/errors.ts';
import { ESRCH, KernelError } from './errno.ts';
import { listThreads } from './procfs.ts';
import { ThreadFiles } from './thread-files.ts';

const CLOSING_PARENTHESIS = 0x29;

/** Enough for the state, which stands behind the number and the name (64 bytes at most, and its parentheses). */
const line = Buffer.alloc(128);

export class ThreadStates {
  readonly #pid: number;
  readonly #files: ThreadFiles;

  constructor(pid: number) {
    this.#pid = pid;
    this.#files = new ThreadFiles(pid, 'stat');
  }

  /** Opens the files of all threads that there are. @throws ComicranError process.gone */
  prepare(): void {
    this.#files.prepare();
  }

  /**
   * Whether every thread is in one state, a letter of proc_pid_stat(5). Threads that have ended do not count.
   *
   * @throws ComicranError process.gone
   */
  areAll(state: string): boolean {
    if (!this.#areKnownAll(state)) return false;
    // One that began before its parent was seen in that state.
    const fresh = listThreads(this.#pid).filter((tid) => !this.#files.has(tid));
    for (const tid of fresh) this.#files.open(tid);
    return fresh.length === 0 || this.areAll(state);
  }

  #areKnownAll(state: string): boolean {
    for (const tid of this.#files.tids) {
      const found = this.#stateOf(tid);
      if (found === 'Z' || found === 'X') {
        if (tid === this.#pid) throw new ComicranError('process.gone', `process ${this.#pid} has ended`);
      } else if (found !== state) return false;
    }
    return true;
  }

  /** One letter; `X` for a thread that is no more. */
  #stateOf(tid: number): string {
    try {
      const length = this.#files.read(tid, line);
      return String.fromCharCode(line[line.lastIndexOf(CLOSING_PARENTHESIS, length - 1) + 2]!);
    } catch (error) {
      if (error instanceof KernelError && error.errno === ESRCH) return 'X';
      throw error;
    }
  }

  close(): void {
    this.#files.close();
  }
}
