/** Writing a cpio archive to a file, piece by piece: a root file system need not fit into memory. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { posix } from 'node:path';
import { type CpioItem, cpioHeader, cpioPadding, cpioTrailer } from './cpio.ts';

const CHUNK_BYTES = 1 << 20;
const DIRECTORY_MODE = 0o755;

/** Behind whatever is in the file already. Directories that lead to something are made by themselves. */
export class CpioFile {
  readonly #fd: number;
  readonly #directories = new Set(['/']);
  #inode = 0;

  /** @param path of a file that exists (its end is where the archive begins: a multiple of four) or will be made. */
  constructor(path: string) {
    this.#fd = openSync(path, 'a', 0o600);
  }

  directory(path: string, mode: number): void {
    if (this.#directories.has(path)) return;
    this.#item({ kind: 'directory', path, mode, size: 0 });
    this.#directories.add(path);
  }

  symlink(path: string, target: string): void {
    this.#contents({ kind: 'symlink', path, mode: 0o777 }, Buffer.from(target));
  }

  file(path: string, mode: number, contents: string | Uint8Array): void {
    this.#contents({ kind: 'file', path, mode }, Buffer.from(contents));
  }

  /** @param size how long it is: a file that grows meanwhile would spoil the archive. */
  copy(path: string, mode: number, source: string, size: number): void {
    this.#item({ kind: 'file', path, mode, size });
    const from = openSync(source, 'r');
    try {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(size, 1)));
      let left = size;
      while (left > 0) {
        const count = readSync(from, chunk, 0, Math.min(chunk.length, left), null);
        if (count === 0) throw new Error(`${source} has become shorter than ${size} bytes`);
        this.#write(chunk.subarray(0, count));
        left -= count;
      }
    } finally {
      closeSync(from);
    }
    this.#write(cpioPadding(size));
  }

  /** Ends the archive and closes the file. */
  end(): void {
    try {
      this.#write(cpioTrailer());
    } finally {
      closeSync(this.#fd);
    }
  }

  #contents(item: Omit<CpioItem, 'size'>, bytes: Uint8Array): void {
    this.#item({ ...item, size: bytes.length });
    this.#write(bytes);
    this.#write(cpioPadding(bytes.length));
  }

  #item(item: CpioItem): void {
    const parent = posix.dirname(item.path);
    if (!this.#directories.has(parent)) this.directory(parent, DIRECTORY_MODE);
    this.#write(cpioHeader(item, ++this.#inode));
  }

  #write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at);
  }
}
