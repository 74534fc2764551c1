/** The root directory on the VM, before it becomes anybody's root. */
import { chmodSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ComicranError } from '../base/errors.ts';

export type MadeRoot = {
  /** False: it was there, empty, and stays when its contents go. */
  readonly made: boolean;
};

/** Makes the directory, or takes one that is there and empty. @throws ComicranError config.bad-path otherwise. */
export function makeRootDirectory(hostPath: string): MadeRoot {
  const made = mkdirSync(hostPath, { recursive: true, mode: 0o755 }) !== undefined;
  if (!made && readdirSync(hostPath).length > 0) {
    throw new ComicranError('config.bad-path', `the root directory ${hostPath} is not empty`, {
      hint: 'jailor fills the root directory and empties it again: name one that does not exist, or is empty.',
    });
  }
  if (made) chmodSync(hostPath, 0o755);
  return { made };
}

/** Removes everything in it, links and not what they lead to, and the directory too if jailor made it. */
export function removeRootDirectory(hostPath: string, root: MadeRoot): void {
  if (root.made) {
    rmSync(hostPath, { recursive: true, force: true });
    return;
  }
  for (const name of readdirSync(hostPath)) rmSync(join(hostPath, name), { recursive: true, force: true });
}
