/** The disk of a virtual machine: a file with a file system of Debian's usual kind, ext4. */
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, renameSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { ComicranError } from '../base/errors.ts';

/** What it could hold: the file takes the room of what is in it. */
const BYTES = 8 * 1024 ** 3;
const MAKE = '/usr/sbin/mkfs.ext4';

/** @throws ComicranError needs.tool */
export async function makeDisk(path: string): Promise<void> {
  const partial = `${path}.next`;
  rmSync(partial, { force: true });
  const file = openSync(partial, 'wx', 0o600);
  ftruncateSync(file, BYTES);
  closeSync(file);
  try {
    await promisify(execFile)(MAKE, ['-q', '-E', 'lazy_itable_init=1,lazy_journal_init=1', partial]);
  } catch (cause) {
    throw new ComicranError('needs.tool', `${MAKE} cannot make ${path}`, {
      cause,
      hint: "Install Debian's package e2fsprogs.",
    });
  }
  renameSync(partial, path);
}
