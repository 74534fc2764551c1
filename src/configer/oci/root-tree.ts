/** The root file system of a bundle: a directory, taken as it is. No link is followed. */
import { type Dirent, readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { isNormalPath } from '../../base/config-schemas.ts';
import type { DirectoryEntry, SymlinkEntry } from '../../base/sandbox-config.ts';
import { isWithin, ownDirectoryOf } from '../../base/sandbox-tree.ts';
import { fileError, kindOf, linkTargetOf, look } from '../host-files.ts';
import { PERMISSION_BITS } from '../tree.ts';
import { type Report, shown } from './report.ts';

export type RootFile = { readonly path: string; readonly source: string; readonly mode: number };
export type RootTree = {
  readonly files: readonly RootFile[];
  readonly symlinks: readonly SymlinkEntry[];
  readonly directories: readonly DirectoryEntry[];
};

const MAX_ENTRIES = 200_000;
const MAX_DEPTH = 200;
const STICKY_BIT = 0o1000;
const SET_ID_BITS = 0o6000;
const LINK_TARGET = /^[^\p{Cc}]{1,4095}$/u;
/** What a name that is no UTF-8 is read as. */
const REPLACEMENT = '\ufffd';

/** @param root on this machine, links resolved. @throws ComicranError config.missing-file: it cannot be read. */
export function readRootTree(root: string, report: Report): RootTree {
  const walk = new Walk(root, report);
  walk.directory('/', 0);
  walk.tell();
  const byPath = (a: { readonly path: string }, b: { readonly path: string }): number => (a.path < b.path ? -1 : 1);
  return {
    files: walk.files.toSorted(byPath),
    symlinks: walk.symlinks.toSorted(byPath),
    directories: walk.directories.toSorted(byPath),
  };
}

/** Without what mounts hide: they are laid over it. */
export function withoutHidden(tree: RootTree, mountPoints: readonly string[]): RootTree {
  const stays = ({ path }: { readonly path: string }): boolean => !mountPoints.some((top) => isWithin(path, top));
  return {
    files: tree.files.filter(stays),
    symlinks: tree.symlinks.filter(stays),
    directories: tree.directories.filter(stays),
  };
}

class Walk {
  readonly files: RootFile[] = [];
  readonly symlinks: SymlinkEntry[] = [];
  readonly directories: DirectoryEntry[] = [];
  readonly #root: string;
  readonly #report: Report;
  /** By what is said of them: the first, and how many. */
  readonly #counted = new Map<string, { readonly first: string; count: number }>();
  #entries = 0;

  constructor(root: string, report: Report) {
    this.#root = root;
    this.#report = report;
  }

  directory(path: string, depth: number): void {
    if (depth > MAX_DEPTH) {
      this.#report.error('root.path', `${shown(path)} lies more than ${MAX_DEPTH} directories deep`);
      return;
    }
    for (const entry of this.#list(path)) {
      const at = posix.join(path, entry.name);
      if (++this.#entries > MAX_ENTRIES) {
        if (this.#entries === MAX_ENTRIES + 1)
          this.#report.error('root.path', `it has more than ${MAX_ENTRIES} files and directories`);
        return;
      }
      this.#entry(at, entry, depth);
    }
  }

  /** What many have in common is one finding. */
  tell(): void {
    for (const [problem, { first, count }] of this.#counted) {
      const others = count === 1 ? '' : ` and ${count - 1} more`;
      this.#report.note('root.path', `${shown(first)}${others}: ${problem}`);
    }
  }

  #list(path: string): Dirent[] {
    const directory = posix.join(this.#root, path);
    try {
      return readdirSync(directory, { withFileTypes: true });
    } catch (cause) {
      throw fileError(directory, ['root.path'], cause);
    }
  }

  #entry(path: string, entry: Dirent, depth: number): void {
    const own = ownDirectoryOf(path);
    if (own !== undefined) {
      // Image builders leave mount points and empty files there.
      if (path !== own) this.#count(path, `left out: every sandbox has a ${own} of its own, or none`);
      return;
    }
    if (!isNormalPath(path) || path.includes(REPLACEMENT)) {
      this.#report.error('root.path', `${shown(path)}: a name with control characters, or not in UTF-8`);
      return;
    }
    const source = posix.join(this.#root, path);
    const stats = look(source, ['root.path']);
    if (!entry.isSymbolicLink() && stats.uid !== 0) this.#count(path, 'it will belong to root, as everything does');
    if (stats.isDirectory()) {
      this.directories.push({ path, mode: stats.mode & (PERMISSION_BITS | STICKY_BIT) });
      this.directory(path, depth + 1);
    } else if (stats.isFile()) {
      if ((stats.mode & SET_ID_BITS) !== 0) this.#count(path, 'without its set-user-ID or set-group-ID bit');
      this.files.push({ path, source, mode: stats.mode & PERMISSION_BITS });
    } else if (stats.isSymbolicLink()) {
      const target = linkTargetOf(source, ['root.path']);
      if (LINK_TARGET.test(target) && !target.includes(REPLACEMENT)) this.symlinks.push({ path, target });
      else this.#report.error('root.path', `${shown(path)}: a link to something that cannot be written down`);
    } else this.#report.error('root.path', `${shown(path)}: it is ${kindOf(stats)}, which a sandbox cannot have`);
  }

  #count(path: string, problem: string): void {
    const known = this.#counted.get(problem);
    if (known === undefined) this.#counted.set(problem, { first: path, count: 1 });
    else known.count++;
  }
}
