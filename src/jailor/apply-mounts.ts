/** Mounts of a sandbox under construction, in its mount namespace. */
import { mkdirSync, statSync } from 'node:fs';
import { defined } from '../base/assert.ts';
import { EINVAL, ENOENT, KernelError } from '../linux/errno.ts';
import { mapTree, openPrivateTree, placeTree } from '../linux/mapped-mount.ts';
import { MS, mount, pivotRoot, unmount } from '../linux/mount.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { type Bind, makeMountPoint } from './bind-source.ts';
import type { Construction } from './construction.ts';
import { mappingRefused } from './no-user-namespace.ts';
import type { Operation } from './operations.ts';

const HARMLESS = MS.NOSUID | MS.NODEV;
const withoutPrograms = (executable: boolean): number => (executable ? 0 : MS.NOEXEC);

/**
 * In the VM's mount namespace; {@link bindRoot} mounts it.
 *
 * @param closed what only its owner can read.
 * @throws ComicranError needs.kernel: there is some, and the file system cannot make it root's inside. Without, all can be read
 *   by everybody: then it is nobody's inside.
 */
export function mapRoot(construction: Construction, closed: readonly string[]): void {
  const root = defined(construction.rootSource, 'the tree');
  const { hostPid } = defined(construction.init, 'the init');
  const tree = openPrivateTree(root);
  construction.rootTree = tree;
  construction.cleanup.defer('let go of the view of the root directory', () => {
    if (construction.rootTree !== undefined) closeDescriptor(tree);
  });
  try {
    mapTree(tree, hostPid);
  } catch (cause) {
    if (!(cause instanceof KernelError) || cause.errno !== EINVAL) throw cause;
    const [first] = closed;
    if (first !== undefined) throw mappingRefused(root, first, cause);
  }
}

/** The tree at the root directory, which so can become a root. */
export function bindRoot(construction: Construction): void {
  const root = construction.at('/');
  const { rootTree } = construction;
  if (rootTree === undefined) {
    mount({ source: defined(construction.rootSource, 'the tree'), target: root, flags: MS.BIND });
    return;
  }
  placeTree(rootTree, root);
  closeDescriptor(rootTree);
  construction.rootTree = undefined;
}

/** The mount point is made if it is not there: it may lie in another tmpfs. */
export function mountTmpfs(
  target: string,
  options: Omit<Extract<Operation, { kind: 'mount-tmpfs' }>, 'kind' | 'path'>,
): void {
  const { uid, gid } = options.owner;
  mkdirSync(target, { recursive: true });
  mount({
    source: 'tmpfs',
    target,
    type: 'tmpfs',
    flags: MS.NOSUID | (options.devices === true ? 0 : MS.NODEV) | withoutPrograms(options.executable),
    data: `mode=${options.mode.toString(8)},size=${options.sizeBytes},uid=${uid},gid=${gid}`,
  });
}

/** A directory or file of the VM, as jailor's thread still reaches it. What is mounted below it stays outside. */
export function bindFromVm(
  bind: Bind & { readonly writable: boolean; readonly executable: boolean },
  target: string,
): void {
  makeMountPoint(bind, target);
  mount({ source: bind.source, target, flags: MS.BIND });
  const access = bind.writable ? 0 : MS.RDONLY;
  changeMount(target, access | HARMLESS | withoutPrograms(bind.executable));
}

/** Flags of one mount; what is mounted below stays as it is. */
function changeMount(target: string, flags: number): void {
  mount({ source: '', target, flags: MS.REMOUNT | MS.BIND | flags });
}

/** Covers a path with a read-only view of itself. A path that is not there needs no cover. */
export function bindReadOnly(path: string): void {
  if (!covered(path, path)) return;
  changeMount(path, MS.RDONLY | HARMLESS | MS.NOEXEC);
}

/** Nothing can be read of a path any more: a file is as /dev/null, a directory is empty. */
export function maskPath(path: string, devNull: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isDirectory()) covered(devNull, path);
  else mount({ source: 'tmpfs', target: path, type: 'tmpfs', flags: MS.RDONLY | HARMLESS | MS.NOEXEC, data: 'size=0' });
}

/** @returns false: the path is not there. */
function covered(source: string, path: string): boolean {
  try {
    mount({ source, target: path, flags: MS.BIND });
    return true;
  } catch (thrown) {
    if (thrown instanceof KernelError && thrown.errno === ENOENT) return false;
    throw thrown;
  }
}

/** Of the mount point `path` alone; what is mounted below stays as it is. Devices work on a read-only mount. */
export function remountReadOnly(path: string): void {
  changeMount(path, MS.RDONLY | MS.NOSUID | (path.endsWith('/dev') ? MS.NOEXEC : MS.NODEV));
}

/**
 * Makes a directory the root of the mount namespace. With one directory in both places pivot_root puts the old root on
 * top of the new one, from where it is taken away: no directory for it is needed (pivot_root(2), notes). Every process of
 * the namespace that had the old root as its root or working directory gets the new one.
 */
export function pivotInto(directory: string): void {
  process.chdir(directory);
  pivotRoot('.', '.');
  unmount('.', { detach: true });
  process.chdir('/');
}
