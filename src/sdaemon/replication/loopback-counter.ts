/** Counts what crosses the loopback device of a sandbox: input that nobody watches. */
import { closeSync, openSync, readSync } from 'node:fs';

const LOOPBACK_LINE = /^\s*lo:\s*\d+\s+(\d+)/m;
/** The first lines, among which `lo` is. */
const FILE_BYTES = 16 << 10;

/** Holds the network namespace: it can be asked also when the process has ended, and the sandbox been taken down. */
export class LoopbackCounter {
  readonly #file: number;
  readonly #before: number;

  /** Counts from now on. The caller closes it. @param pid of a process in the namespace */
  constructor(pid: number) {
    this.#file = openSync(`/proc/${pid}/net/dev`, 'r');
    this.#before = this.#taken();
  }

  /** Packets since it was made. */
  packets(): number {
    return this.#taken() - this.#before;
  }

  #taken(): number {
    const bytes = Buffer.alloc(FILE_BYTES);
    const length = readSync(this.#file, bytes, 0, bytes.length, 0);
    return Number(LOOPBACK_LINE.exec(bytes.toString('latin1', 0, length))?.[1] ?? 0);
  }

  close(): void {
    closeSync(this.#file);
  }
}
