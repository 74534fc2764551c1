/** What is in the store, what of it is used, and removing the rest. */
import { closeSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { whileLocked } from './locked.ts';
import { INCOMING, lookAt, OBJECT, storeLock } from './objects.ts';
import { Records } from './records.ts';
import { removeTree, treeObjects, treeRoot, treesDirectory, tryOpen } from './tree.ts';

const SHA256_DIGITS = 64;

export type Removed = { readonly files: number; readonly bytes: number };

export type StoreFigures = {
  /** What is stored, each once. */
  readonly files: number;
  readonly bytes: number;
  /** Root directories that sandboxes with the same files have together, and how many of them a sandbox has at this moment. */
  readonly trees: number;
  readonly treesInUse: number;
  /** What no sandbox has at this moment: what {@link removeUnused} would remove. */
  readonly unusedFiles: number;
  readonly unusedBytes: number;
};

/** A jailor that wants one of its trees at this very moment waits for an instant. */
export function storeFigures(store: string): StoreFigures {
  const trees = treesIn(store);
  const inUse = trees.filter(isInUse);
  const used = usedObjects(inUse);
  const links = new Map<string, number>();
  for (const tree of trees) if (!inUse.includes(tree)) countLinks(treeRoot(tree), links);
  let [files, bytes, unusedFiles, unusedBytes] = [0, 0, 0, 0];
  for (const name of namesIn(store)) {
    const stat = OBJECT.test(name) ? lookAt(join(store, name)) : undefined;
    if (stat === undefined) continue;
    files++;
    bytes += Number(stat.size);
    const elsewhere = Number(stat.nlink) - 1 - (links.get(String(stat.ino)) ?? 0);
    if (used.has(name) || elsewhere > 0) continue;
    unusedFiles++;
    unusedBytes += Number(stat.size);
  }
  return { files, bytes, trees: trees.length, treesInUse: inUse.length, unusedFiles, unusedBytes };
}

/**
 * Removes the trees that no jailor has, and the stored files that are in none of the others. Sandboxes may run and start
 * meanwhile: what a jailor wants at this moment it takes in once more.
 *
 * @param spared names of stored files that somebody is about to use, and has no other copy of
 */
export async function removeUnused(store: string, spared: ReadonlySet<string> = new Set()): Promise<Removed> {
  if (lookAt(store) === undefined) return { files: 0, bytes: 0 };
  return whileLocked(storeLock(store), () => {
    const records = new Records(store);
    const vouchedFor = namesIn(store).filter((name) => isVouchedFor(records, join(store, name)));
    for (const tree of treesIn(store)) removeTree(store, tree);
    const used = usedObjects(treesIn(store));
    let files = 0;
    let bytes = 0;
    for (const name of namesIn(store)) {
      const stat = OBJECT.test(name) && !used.has(name) && !spared.has(name) ? lookAt(join(store, name)) : undefined;
      // Another link to it is a root directory that jailor made before there were trees.
      if (stat === undefined || stat.nlink > 1n) continue;
      rmSync(join(store, name), { force: true });
      files++;
      bytes += Number(stat.size);
    }
    // One link less changes a file's figures.
    for (const name of vouchedFor) note(records, join(store, name));
    forgetRecords(store, records);
    return { files, bytes };
  });
}

/** Removes what a jailor that was killed had begun to take in. */
export function removeAbandoned(store: string): void {
  for (const name of namesIn(store)) {
    if (!INCOMING.test(name)) continue;
    const fd = tryOpen(join(store, name));
    if (fd === undefined) continue;
    rmSync(join(store, name), { force: true });
    closeSync(fd);
  }
}

function isInUse(tree: string): boolean {
  const fd = tryOpen(tree);
  if (fd !== undefined) closeSync(fd);
  return fd === undefined;
}

function usedObjects(trees: readonly string[]): Set<string> {
  return new Set(trees.flatMap((tree) => readFileSync(treeObjects(tree), 'latin1').split('\n')));
}

function countLinks(root: string, links: Map<string, number>): void {
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const stat = entry.isFile() ? lookAt(join(entry.parentPath, entry.name)) : undefined;
    if (stat !== undefined) links.set(String(stat.ino), (links.get(String(stat.ino)) ?? 0) + 1);
  }
}

const contentOf = (object: string): string => basename(object).slice(0, SHA256_DIGITS);

function isVouchedFor(records: Records, object: string): boolean {
  const stat = OBJECT.test(basename(object)) ? lookAt(object) : undefined;
  return stat !== undefined && records.vouchFor(stat, contentOf(object));
}

function note(records: Records, object: string): void {
  const stat = lookAt(object);
  if (stat !== undefined) records.note(stat, contentOf(object));
}

function forgetRecords(store: string, records: Records): void {
  const inodes = new Map<string, number>();
  countLinks(store, inodes);
  records.keepOnly(new Set(inodes.keys()));
}

const TREE = /^[0-9a-f]{32}$/;

function treesIn(store: string): string[] {
  const directory = treesDirectory(store);
  return namesIn(directory)
    .filter((name) => TREE.test(name))
    .map((name) => join(directory, name));
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw thrown;
  }
}
