/**
 * The files that a log is kept in. A full one is moved to `<path>.1`, that to `<path>.2` and so on; the oldest is dropped. What is
 * in a file are whole lines, whatever could not be written, and whenever: the rest of a line that the disk had no room for is
 * written before anything else.
 */
import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

const NEWLINE = 0x0a;
const NOTHING = Buffer.alloc(0);

export type FileLimits = { readonly maxFileBytes: number; readonly files: number };

/** Where a file is made before it gets the name of the current one. */
export const nextLogFile = (path: string): string => `${path}.next`;

export class LogFile {
  readonly #path: string;
  readonly #limits: FileLimits;
  #fd: number;
  #bytes = 0;
  /** Of a line whose beginning is in the file. */
  #rest: Uint8Array = NOTHING;

  /** Begins a new file. */
  constructor(path: string, limits: FileLimits) {
    this.#path = path;
    this.#limits = limits;
    this.#fd = openSync(path, 'w', 0o600);
  }

  /**
   * Appends values, each as a line of JSON, as many as go; never throws.
   * @returns how many, from the first on. One whose beginning alone could be written counts: its rest follows.
   */
  append(values: readonly object[]): number {
    let appended = 0;
    let texts: string[] = [];
    let waiting = 0;
    const flush = (): boolean => {
      const written = this.#write(Buffer.from(texts.join('')));
      appended += written;
      const isWhole = written === texts.length;
      [texts, waiting] = [[], 0];
      return isWhole;
    };
    for (const value of values) {
      const text = `${JSON.stringify(value)}\n`;
      const length = Buffer.byteLength(text);
      const before = this.#bytes + this.#rest.length + waiting;
      if (before > 0 && before + length > this.#limits.maxFileBytes && !(flush() && this.#rotate())) return appended;
      texts.push(text);
      waiting += length;
    }
    flush();
    return appended;
  }

  /** @returns how many lines have begun to be in the file. */
  #write(lines: Buffer): number {
    const rest = this.#rest.length;
    const all = rest === 0 ? lines : Buffer.concat([this.#rest, lines]);
    const written = this.#writeBytes(all);
    if (written <= rest && rest > 0) {
      this.#rest = all.subarray(written, rest);
      if (written < rest) return 0;
    }
    if (written === all.length) {
      this.#rest = NOTHING;
      return countLines(lines);
    }
    const begun = lines.subarray(0, written - rest);
    const isTorn = begun.length > 0 && begun.at(-1) !== NEWLINE;
    this.#rest = isTorn ? Buffer.from(all.subarray(written, all.indexOf(NEWLINE, written) + 1)) : NOTHING;
    return countLines(begun) + (isTorn ? 1 : 0);
  }

  #writeBytes(bytes: Buffer): number {
    let at = 0;
    try {
      while (at < bytes.length) {
        const count = writeSync(this.#fd, bytes, at);
        at += count;
        this.#bytes += count;
      }
    } catch {
      // A full disk, or one that does not answer. What is left is told.
    }
    return at;
  }

  /** @returns false: it cannot be done now. The file stays as it is then, and stays the current one. */
  #rotate(): boolean {
    if (this.#rest.length > 0) return false;
    const name = (age: number): string => (age === 0 ? this.#path : `${this.#path}.${age}`);
    try {
      // First: its room may be what is missing.
      rmSync(name(this.#limits.files - 1), { force: true });
      // Before the one that is there is let go of.
      const fd = openSync(nextLogFile(this.#path), 'w', 0o600);
      try {
        for (let age = this.#limits.files - 1; age > 0; age--)
          if (existsSync(name(age - 1))) renameSync(name(age - 1), name(age));
        renameSync(nextLogFile(this.#path), this.#path);
      } catch (thrown) {
        closeSync(fd);
        throw thrown;
      }
      closeSync(this.#fd);
      [this.#fd, this.#bytes] = [fd, 0];
      return true;
    } catch {
      return false;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function countLines(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) count++;
  return count;
}
