/**
 * Trees: what a sandbox has as its root directory. Sandboxes with the same files, links and directories have the same tree,
 * read-only, by a bind mount; so a second start makes nothing but the mount. In a tree a file is a hard link to the stored
 * one (so it is once on disk and once in the page cache), a reflink of it or a copy, whatever the file system has.
 *
 *     <store>/trees/KEY/         locked, together with others, by every jailor that uses it
 *     <store>/trees/KEY/root/    what is mounted
 *     <store>/trees/KEY/sharing  the way that its files are had by
 *     <store>/trees/KEY/objects  names of the stored files that it is made of
 *     <store>/trees/building/    while one is made
 */
import { createHash } from 'node:crypto';
import { chmodSync, closeSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defined } from '../../base/assert.ts';
import { Filling, filesOf, inSpiteOfCleaning, type TreeEntry } from './fill.ts';
import { openLocked, tryOpenLocked, whileLocked } from './locked.ts';
import { lookAt, makeStore, objectName, storeLock } from './objects.ts';
import { ALL_WAYS } from './place.ts';
import type { StoreUse, Way } from './use.ts';

const ROOT_MODE = 0o755;

export type Tree = {
  /** To be mounted, read-only. */
  readonly root: string;
  readonly sharing: Way;
  /** Nobody removes it before this has been called (or this process has ended). Idempotent. */
  release(): void;
};

export const treesDirectory = (store: string): string => join(store, 'trees');
export const treeRoot = (tree: string): string => join(tree, 'root');
export const treeObjects = (tree: string): string => join(tree, 'objects');
const treeSharing = (tree: string): string => join(tree, 'sharing');

/** Follows from what is in it alone: not from whose it is, nor from where its files come from. */
function keyOf(entries: readonly TreeEntry[]): string {
  const lines = entries.map((entry) => {
    if (entry.kind === 'file') return [entry.path, entry.sha256, entry.size, entry.mode];
    return entry.kind === 'symlink' ? [entry.path, entry.target] : [entry.path, entry.mode];
  });
  return createHash('sha256').update(JSON.stringify(lines)).digest('hex').slice(0, 32);
}

/**
 * The tree of these entries, complete and right; made where it is not there.
 *
 * @throws ComicranError config.missing-file, config.changed-file
 */
export async function openTree(
  store: string,
  entries: readonly TreeEntry[],
  use: StoreUse,
  ways: readonly Way[] = ALL_WAYS,
): Promise<Tree> {
  const tree = join(treesDirectory(store), keyOf(entries));
  return inSpiteOfCleaning(async () => {
    const filling = new Filling(store, use, ways);
    if (sharingOf(tree, entries) === undefined) await build(filling, tree, entries);
    const fd = await openLocked(tree, 'r', 'shared');
    try {
      await filling.check(treeRoot(tree), entries);
      const sharing = defined(sharingOf(tree, entries), 'the way that files are had by');
      let open: number | undefined = fd;
      const release = (): void => {
        if (open !== undefined) closeSync(open);
        open = undefined;
      };
      return { root: treeRoot(tree), sharing, release };
    } catch (thrown) {
      closeSync(fd);
      throw thrown;
    }
  });
}

const objectsText = (entries: readonly TreeEntry[]): string =>
  `${[...new Set(filesOf(entries).map(objectName))].join('\n')}\n`;

/**
 * @returns undefined: there is no tree, or what stands beside it is not whole. After a power failure such small files can be
 * empty, whatever their order was; what is in the tree itself is checked by its figures.
 */
function sharingOf(tree: string, entries: readonly TreeEntry[]): Way | undefined {
  if (lookAt(tree) === undefined) return undefined;
  const isWhole = readText(treeObjects(tree)) === objectsText(entries);
  return ALL_WAYS.find((way) => isWhole && way === readText(treeSharing(tree)));
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw thrown;
  }
}

/** Not one that somebody has. */
export function removeTree(store: string, tree: string): void {
  const fd = tryOpen(tree);
  if (fd === undefined) return;
  const leaving = join(treesDirectory(store), 'leaving');
  rmSync(leaving, { recursive: true, force: true });
  renameSync(tree, leaving);
  closeSync(fd);
  rmSync(leaving, { recursive: true, force: true });
}

/** Locked. @returns undefined: somebody has it, or it is gone */
export function tryOpen(path: string): number | undefined {
  try {
    return tryOpenLocked(path, 'r', 'alone');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}

async function build(filling: Filling, tree: string, entries: readonly TreeEntry[]): Promise<void> {
  const { store, records } = filling;
  makeStore(store);
  await filling.obtainAll(entries);
  await whileLocked(storeLock(store), () => {
    if (sharingOf(tree, entries) !== undefined) return;
    removeTree(store, tree);
    records.reload();
    const building = join(treesDirectory(store), 'building');
    const root = treeRoot(building);
    rmSync(building, { recursive: true, force: true });
    mkdirSync(root, { recursive: true, mode: 0o700 });
    chmodSync(root, ROOT_MODE);
    writeFileSync(treeSharing(building), filling.fill(root, entries));
    writeFileSync(treeObjects(building), objectsText(entries));
    records.save();
    renameSync(building, tree);
  });
}
