/** What a start took from the store, and what it had to put there. */

/** How a sandbox has its files: it shares them, each as one inode or as one extent, or has copies of its own. */
export type Way = 'hardlink' | 'reflink' | 'copy';

export type StoreUse = {
  /** Taken into the store, or copied out of it where nothing can be shared. */
  copiedFiles: number;
  copiedBytes: number;
  /** Read again because the records did not vouch for them. */
  rehashedBytes: number;
  /** Paths inside the sandbox whose stored copies were damaged, and have been copied anew. */
  readonly repaired: string[];
  /** Hears of what an operator should know. */
  readonly say: (text: string) => void;
};

export function newUse(say: (text: string) => void = () => undefined): StoreUse {
  return { copiedFiles: 0, copiedBytes: 0, rehashedBytes: 0, repaired: [], say };
}

/** As it stands in state.json and in what `--json` prints. */
export type RootFiles = {
  /** The directory in the store that is the root of every sandbox with the same files; null: it has a root of its own. */
  readonly tree: string | null;
  /** The worst of the ways that its files are had by. */
  readonly sharing: Way;
  readonly copiedFiles: number;
  readonly copiedBytes: number;
  readonly rehashedBytes: number;
  readonly repaired: readonly string[];
};

export function rootFiles(use: StoreUse, sharing: Way, tree: string | null): RootFiles {
  const { copiedFiles, copiedBytes, rehashedBytes, repaired } = use;
  return { tree, sharing, copiedFiles, copiedBytes, rehashedBytes, repaired };
}
