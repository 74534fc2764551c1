/**
 * How the store notices that one of its files has been changed, without reading it: when a file has been verified, its inode,
 * size, time of change of the content and time of change of the inode (which nobody can set) are noted with its sha256. A file
 * whose figures are still these has the content that was verified; any other is read again.
 *
 * (A disk that returns other bytes than were written changes no figure; that is the file system's to notice.)
 *
 * One text file, a line a record, of an inode the last one holds:
 *
 *     INODE SIZE MTIME_NS CTIME_NS SHA256
 */
import { appendFileSync, type BigIntStats, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'records';

const figures = ({ size, mtimeNs, ctimeNs }: BigIntStats, sha256: string): string =>
  `${size} ${mtimeNs} ${ctimeNs} ${sha256}`;

export class Records {
  readonly #file: string;
  readonly #byInode = new Map<string, string>();
  #added = '';

  /** Those of a store, as they stand now. */
  constructor(store: string) {
    this.#file = join(store, FILE);
    this.reload();
  }

  /** What others have saved since then counts as well. */
  reload(): void {
    for (const line of read(this.#file).split('\n')) {
      const space = line.indexOf(' ');
      // The last line may be half written.
      if (space > 0) this.#byInode.set(line.slice(0, space), line.slice(space + 1));
    }
  }

  /** Whether the file had this content when it was last verified, and has not been touched since. */
  vouchFor(stat: BigIntStats, sha256: string): boolean {
    return this.#byInode.get(String(stat.ino)) === figures(stat, sha256);
  }

  /** The file has just been verified. Not durable before {@link save}. */
  note(stat: BigIntStats, sha256: string): void {
    this.#byInode.set(String(stat.ino), figures(stat, sha256));
    this.#added += `${stat.ino} ${figures(stat, sha256)}\n`;
  }

  /** One write: what others add at the same time stands before or behind it. */
  save(): void {
    if (this.#added === '') return;
    appendFileSync(this.#file, this.#added, { mode: 0o600 });
    this.#added = '';
  }

  /** Writes anew those of the inodes that are left. Nobody may add meanwhile. */
  keepOnly(inodes: ReadonlySet<string>): void {
    const lines = [...this.#byInode]
      .filter(([inode]) => inodes.has(inode))
      .map(([inode, rest]) => `${inode} ${rest}\n`);
    writeFileSync(`${this.#file}.next`, lines.join(''), { mode: 0o600 });
    renameSync(`${this.#file}.next`, this.#file);
    this.#added = '';
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw thrown;
  }
}
