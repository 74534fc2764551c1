/** Mounts of a sandbox under construction, in its mount namespace. */
import { ENOENT, KernelError } from '../linux/errno.ts';
import { MS, mount, pivotRoot, unmount } from '../linux/mount.ts';
import { makeDirectory } from './root-directory.ts';

/** The mount point is made if it is not there: it may lie in another tmpfs. */
export function mountTmpfs(target: string, options: { readonly mode: number; readonly sizeBytes: number }): void {
  makeDirectory(target, options.mode);
  mount({
    source: 'tmpfs',
    target,
    type: 'tmpfs',
    flags: MS.NOSUID,
    data: `mode=${options.mode.toString(8)},size=${options.sizeBytes}`,
  });
}

/** Covers a path with a read-only view of itself. A path that is not there needs no cover. */
export function bindReadOnly(path: string): void {
  try {
    mount({ source: path, target: path, flags: MS.BIND });
  } catch (thrown) {
    if (thrown instanceof KernelError && thrown.errno === ENOENT) return;
    throw thrown;
  }
  mount({ source: '', target: path, flags: MS.REMOUNT | MS.BIND | MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC });
}

/** Of the mount point `path` alone; what is mounted below stays as it is. Devices work on a read-only mount. */
export function remountReadOnly(path: string): void {
  mount({ source: '', target: path, flags: MS.REMOUNT | MS.BIND | MS.RDONLY });
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
