/** The files that a process maps, and whether they can be found again by their path. */
import { statSync } from 'node:fs';
import type { MappedFile } from '../image/types.ts';
import type { FileLooks } from '../linux/file-digest.ts';
import type { MapsEntry } from '../linux/procfs.ts';

/** A file that is mapped and not to be found by its path, with the reason as a phrase. */
export type RefusedFile = { readonly refused: string };

/** Files of one process, each looked at once: reading them takes longer than a process should be stopped for. */
export class MappedFiles {
  readonly #pid: number;
  readonly #looks: FileLooks;
  readonly #known = new Map<string, MappedFile | RefusedFile>();

  constructor(pid: number, looks: FileLooks) {
    this.#pid = pid;
    this.#looks = looks;
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

  #read({ start, end, name }: MapsEntry): MappedFile | RefusedFile {
    const range = `${start.toString(16)}-${end.toString(16)}`;
    const mapped = statSync(`/proc/${this.#pid}/map_files/${range}`, { bigint: true, throwIfNoEntry: false });
    if (mapped === undefined || !mapped.isFile()) return { refused: `a mapping of ${name}, which is no regular file` };
    const named = this.#looks.look(`/proc/${this.#pid}/root${name}`);
    if (named === null || named.device !== mapped.dev || named.inode !== mapped.ino)
      return { refused: `a mapping of ${name}, which is another file now` };
    return { path: name, size: named.size, headDigest: named.headDigest };
  }
}
