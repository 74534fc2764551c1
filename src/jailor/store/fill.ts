/** What a root directory is made of, and how it is made from the store. */
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { FileEntry } from '../../base/sandbox-config.ts';
import { whileLocked } from './locked.ts';
import { examine, lookAt, objectName, obtain, storeLock } from './objects.ts';
import { ALL_WAYS, OWN_WAYS, place } from './place.ts';
import { Records } from './records.ts';
import type { StoreUse, Way } from './use.ts';

/** Somebody who cleans the store may come in between, but not again and again. */
const ATTEMPTS = 5;

export type TreeFile = Omit<FileEntry, 'why'>;

/** Parents stand before what lies in them. */
export type TreeEntry =
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | ({ readonly kind: 'file' } & TreeFile)
  | { readonly kind: 'symlink'; readonly path: string; readonly target: string };

export const filesOf = (entries: readonly TreeEntry[]): TreeFile[] => entries.filter((entry) => entry.kind === 'file');

/** One start's work with the store. */
export class Filling {
  readonly store: string;
  readonly records: Records;
  readonly use: StoreUse;
  readonly #ways: readonly Way[];

  constructor(store: string, use: StoreUse, ways: readonly Way[] = ALL_WAYS) {
    this.store = store;
    this.use = use;
    this.#ways = ways;
    this.records = new Records(store);
  }

  /** Has every file in the store. @throws ComicranError config.missing-file, config.changed-file */
  async obtainAll(entries: readonly TreeEntry[]): Promise<void> {
    for (const file of filesOf(entries)) await obtain(this.store, file, this.records, this.use);
    this.records.save();
  }

  /**
   * Makes the entries in an empty directory. The files are in the store, and its lock is the caller's.
   *
   * @returns the worst of the ways that files were placed by.
   * @throws Error ENOENT: one is not in the store any more
   */
  fill(root: string, entries: readonly TreeEntry[]): Way {
    let worst = 0;
    for (const entry of entries) {
      const target = join(root, entry.path);
      switch (entry.kind) {
        case 'directory':
          mkdirSync(target);
          chmodSync(target, entry.mode);
          break;
        case 'file':
          worst = Math.max(worst, ALL_WAYS.indexOf(this.#place(entry, target)));
          break;
        case 'symlink':
          symlinkSync(entry.target, target);
          break;
      }
    }
    return ALL_WAYS[worst] ?? 'copy';
  }

  /** What was right remains right: a link changes a file's figures, and a copy has its own. */
  #place(file: TreeFile, target: string): Way {
    const object = join(this.store, objectName(file));
    const before = lookAt(object);
    const way = place(object, file, target, this.#ways);
    if (way === 'copy') {
      this.use.copiedFiles++;
      this.use.copiedBytes += file.size;
    }
    // Not vouched for: it has been changed since it was obtained. The next look at it reads it.
    if (before === undefined || !this.records.vouchFor(before, file.sha256)) return way;
    const after = lookAt(target);
    if (after !== undefined) this.records.note(after, file.sha256);
    return way;
  }

  /**
   * Reads what the records do not vouch for, and replaces what is not as it should be.
   *
   * @throws ComicranError config.missing-file, config.changed-file: it is damaged, and cannot be copied anew
   */
  async check(root: string, entries: readonly TreeEntry[]): Promise<void> {
    const suspect = filesOf(entries).filter((file) => {
      const stat = lookAt(join(root, file.path));
      return stat === undefined || !this.records.vouchFor(stat, file.sha256);
    });
    if (suspect.length === 0) return;
    await whileLocked(storeLock(this.store), async () => {
      this.records.reload();
      for (const file of suspect) await this.#repair(join(root, file.path), file);
      this.records.save();
    });
  }

  async #repair(path: string, file: TreeFile): Promise<void> {
    const condition = examine(path, file, this.records, this.use);
    if (condition === 'intact') {
      if ((Number(lookAt(path)?.mode ?? 0n) & 0o7777) !== file.mode) chmodSync(path, file.mode);
    } else {
      await obtain(this.store, file, this.records, this.use);
      // Who runs with the old one goes on with it.
      const next = `${path}.comicran-next`;
      rmSync(next, { force: true });
      this.#place(file, next);
      renameSync(next, path);
      const how = condition === 'absent' ? 'it was not there' : condition.damaged;
      this.use.repaired.push(file.path);
      this.use.say(`${file.path}: the stored file was damaged (${how}); it has been replaced`);
    }
    const stat = lookAt(path);
    if (stat !== undefined) this.records.note(stat, file.sha256);
  }
}

/** Runs again what has met with somebody who cleans the store. */
export async function inSpiteOfCleaning<T>(run: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT' || attempt === ATTEMPTS) throw thrown;
    }
  }
}

/**
 * A root directory of a sandbox's own, for one that may get to write to it: nothing in it is the store's. It is there, and
 * empty.
 *
 * @throws ComicranError config.missing-file, config.changed-file
 */
export async function fillOwnRoot(
  store: string,
  root: string,
  entries: readonly TreeEntry[],
  use: StoreUse,
): Promise<Way> {
  return inSpiteOfCleaning(async () => {
    const filling = new Filling(store, use, OWN_WAYS);
    for (const { path } of entries) rmSync(join(root, path), { recursive: true, force: true });
    await filling.obtainAll(entries);
    return whileLocked(storeLock(store), () => filling.fill(root, entries));
  });
}
