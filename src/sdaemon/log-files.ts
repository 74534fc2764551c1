/** The files of a log while jailor turns them over (log-writer.ts): read in order, nothing twice, nothing left out. */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

const READ_BYTES = 64 << 10;
const NEWLINE = 0x0a;

/** An open file of a log. It is the same file whatever it is called by now. */
export class LogFile {
  readonly #fd: number;
  readonly inode: number;
  #offset = 0;

  private constructor(fd: number) {
    this.#fd = fd;
    this.inode = fstatSync(fd).ino;
  }

  /** @returns undefined where there is none. */
  static open(path: string): LogFile | undefined {
    try {
      return new LogFile(openSync(path, 'r'));
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw thrown;
    }
  }

  /** The whole lines that have come since the last call. */
  lines(): string[] {
    const chunks: Buffer[] = [];
    let position = this.#offset;
    for (;;) {
      const chunk = Buffer.alloc(READ_BYTES);
      const count = readSync(this.#fd, chunk, 0, READ_BYTES, position);
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      position += count;
    }
    const bytes = Buffer.concat(chunks);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    this.#offset += end;
    return end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n');
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/**
 * The files of a log that are newer than one, the oldest first; all of them where that one has been dropped. They are the
 * caller's to close.
 */
export function openNewer(path: string, inode?: number): LogFile[] {
  const found: LogFile[] = [];
  // The newest first: what is turned over meanwhile is met a second time, and not missed.
  for (let age = 0; ; age++) {
    const file = LogFile.open(age === 0 ? path : `${path}.${age}`);
    // Between the turning over and the new file there is none of this name.
    if (file === undefined && age === 0) continue;
    if (file === undefined) return found;
    if (file.inode === inode) {
      file[Symbol.dispose]();
      return found;
    }
    if (found.some((one) => one.inode === file.inode)) file[Symbol.dispose]();
    else found.unshift(file);
  }
}

/** Of the current file; undefined: it has just been turned over, or there is none. */
export const currentInode = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.ino;
