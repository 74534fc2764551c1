/** Puts a file of the store into a tree, by the best way that the file system has. */
import { chmodSync, constants, copyFileSync, linkSync } from 'node:fs';
import type { Wanted } from './objects.ts';
import type { Way } from './use.ts';

export const ALL_WAYS: readonly Way[] = ['hardlink', 'reflink', 'copy'];
/** For what may be written to by who gets it. */
export const OWN_WAYS: readonly Way[] = ['reflink', 'copy'];

/** What says that a file system does not have a way, or not for this file any more (as many links as it can have). */
const NOT_THIS_WAY = new Set(['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS', 'ENOTTY']);

const PLACE: Readonly<Record<Way, (object: string, target: string, mode: number) => void>> = {
  hardlink: (object, target) => linkSync(object, target),
  reflink(object, target, mode) {
    copyFileSync(object, target, constants.COPYFILE_FICLONE_FORCE);
    chmodSync(target, mode);
  },
  copy(object, target, mode) {
    copyFileSync(object, target);
    chmodSync(target, mode);
  },
};

/** @returns the first of the ways that works here. @throws Error ENOENT: the object is gone. */
export function place(object: string, file: Wanted, target: string, ways: readonly Way[] = ALL_WAYS): Way {
  for (const way of ways) {
    try {
      PLACE[way](object, target, file.mode);
      return way;
    } catch (thrown) {
      const code = (thrown as NodeJS.ErrnoException).code ?? '';
      if (way === ways.at(-1) || !NOT_THIS_WAY.has(code)) throw thrown;
    }
  }
  throw new Error('there is no way to place a file');
}
