/** The files that a process maps: whether they can be found again by their path, and what tells them from others. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { MappedFile } from '../image/types.ts';
import type { MapsEntry } from '../linux/procfs.ts';

const HEAD_BYTES = 4096;

/** SHA-256 of the first 4 KiB of a file, by its path as this program sees it. */
export function headDigest(path: string): Buffer {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const length = readSync(descriptor, head, 0, HEAD_BYTES, 0);
    return createHash('sha256').update(head.subarray(0, length)).digest();
  } finally {
    closeSync(descriptor);
  }
}

/** A file that is mapped and not to be found by its path, with the reason as a phrase. */
export type RefusedFile = { readonly refused: string };

/** Files of one process, each looked at once: reading them takes longer than a process should be stopped for. */
export class MappedFiles {
  readonly #pid: number;
  readonly #known = new Map<string, MappedFile | RefusedFile>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** The file behind a mapping. */
  lookUp(entry: MapsEntry): MappedFile | RefusedFile {
    const key = `${entry.device}:${entry.inode}:${entry.name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const found = this.#read(entry);
    this.#known.set(key, found);
    return found;
  }

  #read(entry: MapsEntry): MappedFile | RefusedFile {
    const range = `${entry.start.toString(16)}-${entry.end.toString(16)}`;
    const path = `/proc/${this.#pid}/root${entry.name}`;
    const mapped = statSync(`/proc/${this.#pid}/map_files/${range}`, { bigint: true, throwIfNoEntry: false });
    const named = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (mapped === undefined || !mapped.isFile())
      return { refused: `a mapping of ${entry.name}, which is no regular file` };
    if (named === undefined || named.dev !== mapped.dev || named.ino !== mapped.ino)
      return { refused: `a mapping of ${entry.name}, which is another file now` };
    return { path: entry.name, size: named.size, headDigest: headDigest(path) };
  }
}
