import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { systemCode } from './host-files.ts';

/** @throws ComicranError config.missing-file, config.invalid where it is not UTF-8. */
export function readTextFile(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    const why = systemCode(cause) === 'ENOENT' ? 'does not exist' : `cannot be read: ${systemCode(cause)}`;
    throw new ComicranError('config.missing-file', `${path} ${why}`, { hint: 'Name a base configuration.', cause });
  }
  return decodeText(bytes, path);
}

/** @param name as it stands in messages. @throws ComicranError config.invalid where it is not UTF-8. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ComicranError('config.invalid', `${name} is not text in UTF-8`, {
      hint: 'A configuration is YAML or JSON; save it in UTF-8.',
      cause,
    });
  }
}

/** The file has the old contents or the new ones, never a part of them. */
export function writeFileWhole(path: string, text: string): void {
  const partial = `${path}.${process.pid}.part`;
  try {
    writeFileSync(partial, text);
    renameSync(partial, path);
  } catch (cause) {
    rmSync(partial, { force: true });
    throw new ComicranError('config.bad-path', `${path} cannot be written: ${systemCode(cause)}`, {
      hint: 'Name a file in a directory that exists and may be written.',
      cause,
    });
  }
}
