import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { systemCode } from './host-files.ts';

/** Where nothing may be written nothing may be removed either: what failed first is what is told. */
function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {}
}

/** The file has the old contents or the new ones, never a part of them. */
export function writeFileWhole(path: string, text: string): void {
  const partial = `${path}.${process.pid}.part`;
  try {
    writeFileSync(partial, text);
    renameSync(partial, path);
  } catch (cause) {
    removeIfPossible(partial);
    throw new ComicranError('config.bad-path', `${path} cannot be written: ${systemCode(cause)}`, {
      hint: 'Name a file in a directory that exists and may be written.',
      cause,
    });
  }
}
