/** The tree that is the root directory of a sandbox under construction (store/tree.ts). */
import { defined, unreachable } from '../base/assert.ts';
import { EMPTY_FILE, sourceKind } from './bind-source.ts';
import type { Construction } from './construction.ts';
import type { Operation } from './operations.ts';
import { fillOwnRoot } from './store/fill.ts';
import { openTree } from './store/tree.ts';
import { newUse, rootFiles } from './store/use.ts';

type TreeOperation = Extract<Operation, { kind: 'make-directory' | 'place-file' | 'make-symlink' | 'fit-mount-point' }>;

export function addToTree(construction: Construction, operation: TreeOperation): void {
  const tree = defined(construction.tree, 'a tree that has been begun');
  switch (operation.kind) {
    case 'make-directory':
      tree.push({ ...operation, kind: 'directory' });
      break;
    case 'place-file':
      tree.push({ ...operation, kind: 'file' });
      break;
    case 'make-symlink':
      tree.push({ ...operation, kind: 'symlink' });
      break;
    case 'fit-mount-point': {
      if (sourceKind(operation) === 'directory') break;
      const index = tree.findIndex(({ path }) => path === operation.path);
      tree.splice(index, 1, { ...EMPTY_FILE, path: operation.path });
      break;
    }
    default:
      unreachable(operation);
  }
}

/** @throws ComicranError config.missing-file, config.changed-file */
export async function finishTree(construction: Construction, own: boolean): Promise<void> {
  const { storeDirectory, say } = construction.world;
  const entries = defined(construction.tree, 'a tree that has been begun');
  construction.tree = undefined;
  const use = newUse(say);
  if (own) {
    const root = defined(construction.root, 'the root directory');
    const sharing = await fillOwnRoot(storeDirectory, root, entries, use);
    construction.rootSource = root;
    construction.rootFiles = rootFiles(use, sharing, null);
    return;
  }
  const tree = await openTree(storeDirectory, entries, use);
  construction.cleanup.defer('let go of the tree', () => tree.release());
  construction.rootSource = tree.root;
  construction.rootFiles = rootFiles(use, tree.sharing, tree.root);
}
