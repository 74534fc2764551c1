/** A sandbox's directory, as its jailor takes it. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import { type DirectoryLock, lockDirectory } from './lock.ts';
import { sandboxPaths } from './naming.ts';

/**
 * On success the directory is this jailor's until the lock is released, and nothing of an earlier sandbox of this id is left.
 *
 * @throws ComicranError sandbox.exists
 */
export async function claimDirectory(stateDirectory: string, id: string): Promise<DirectoryLock> {
  const { directory, state, controlSocket, log } = sandboxPaths(resolve(stateDirectory), id);
  const lock = lockDirectory(directory);
  if (lock === undefined) {
    throw new ComicranError('sandbox.exists', `the sandbox ${id} is there already (${directory})`, {
      hint: 'Terminate it first, or give this one another id.',
    });
  }
  if (!existsSync(state)) return lock;
  // Only now: a first start needs none of it.
  const { removeLeftovers } = await import('./clean.ts');
  await removeLeftovers(stateDirectory, id);
  const logs = readdirSync(directory).filter((name) => /^log\.([0-9]+|next)$/.test(name));
  for (const path of [state, controlSocket, log, ...logs.map((name) => join(dirname(log), name))])
    rmSync(path, { force: true });
  return lock;
}
