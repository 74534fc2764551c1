/**
 * One jailor a sandbox: an exclusive lock on the sandbox's directory, held as long as the jailor lives. The kernel takes
 * it back however the jailor ends, so that who gets the lock knows that nobody is at work there.
 */
import { closeSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs';
import { tryLockFile } from '../linux/file-lock.ts';

/** Held until released, or until this process ends (the descriptor is close-on-exec). */
export class DirectoryLock {
  #fd: number | undefined;

  /** @param fd is locked, and is closed by this. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Idempotent. */
  release(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Makes the directory if it is not there. @returns undefined when somebody else has the lock. */
export function lockDirectory(directory: string): DirectoryLock | undefined {
  for (;;) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const fd = tryOpen(directory);
    if (fd === undefined) continue;
    if (!tryLockFile(fd)) {
      closeSync(fd);
      return undefined;
    }
    // Who had it before may have removed the directory: then this is the lock of something that has no name any more.
    if (statSync(directory, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) {
      return new DirectoryLock(fd);
    }
    closeSync(fd);
  }
}

function tryOpen(directory: string): number | undefined {
  try {
    return openSync(directory, 'r');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}
