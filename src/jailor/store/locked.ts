/** Locks of the store: flock(2) on files and directories that may be replaced or removed while one waits for them. */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLockFile, tryShareFile } from '../../linux/file-lock.ts';

const POLL_MS = 3;

export type Sharing = 'alone' | 'shared';

/**
 * Opens and locks what has this name; waits as long as somebody else has it.
 *
 * @param flags of open(2); with `a` the file is made.
 * @returns a descriptor of what still has the name; the lock ends when it is closed, or with this process.
 * @throws Error ENOENT
 */
export async function openLocked(path: string, flags: string, sharing: Sharing): Promise<number> {
  for (;;) {
    const fd = tryOpenLocked(path, flags, sharing);
    if (fd !== undefined) return fd;
    await sleep(POLL_MS);
  }
}

/** The same without waiting. @returns undefined: somebody else has it, or it has another name by now. */
export function tryOpenLocked(path: string, flags: string, sharing: Sharing): number | undefined {
  const fd = openSync(path, flags, 0o600);
  const locked = sharing === 'alone' ? tryLockFile(fd) : tryShareFile(fd);
  // Who had it may have renamed or removed it.
  if (locked && statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
  closeSync(fd);
  return undefined;
}

/** Runs `use` while nobody else has the lock of this name. The file stays. */
export async function whileLocked<T>(path: string, use: () => T | Promise<T>): Promise<T> {
  const fd = await openLocked(path, 'a', 'alone');
  try {
    return await use();
  } finally {
    closeSync(fd);
  }
}
