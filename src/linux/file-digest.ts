/** What tells a file from another of the same name. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';

const HEAD_BYTES = 4096;
const MAX_KNOWN = 4096;

export type FileLook = {
  /** Bytes. */
  readonly size: bigint;
  /** SHA-256 of the first 4 KiB: in a program or library they hold the build id. */
  readonly headDigest: Buffer;
  readonly device: bigint;
  readonly inode: bigint;
};

/** Looks at files, and remembers what those that have not changed since are like. */
export class FileLooks {
  readonly #known = new Map<string, Buffer>();

  /** @param path as this program sees it. @returns null when there is no regular file. */
  look(path: string): FileLook | null {
    const status = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (status === undefined || !status.isFile()) return null;
    const { dev, ino, size, mtimeNs, ctimeNs } = status;
    const key = `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
    const headDigest = this.#known.get(key) ?? digestHead(path);
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(key, headDigest);
    return { size, headDigest, device: dev, inode: ino };
  }
}

function digestHead(path: string): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const length = readSync(descriptor, head, 0, HEAD_BYTES, 0);
    return createHash('sha256').update(head.subarray(0, length)).digest();
  } finally {
    closeSync(descriptor);
  }
}
