/** What a bind mounts: a file or a directory of the VM, and what it is mounted on. */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ComicranError } from '../base/errors.ts';

export type Bind = { readonly path: string; readonly source: string };

/** Mounted on where it must be a file; what is in it nobody sees. */
export const EMPTY_FILE = {
  kind: 'file',
  source: join(import.meta.dirname, '../../share/empty'),
  sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  size: 0,
  mode: 0o444,
} as const;

/** @throws ComicranError config.missing-file, config.bad-path: the source is not there, or is neither of both. */
export function sourceKind({ path, source }: Bind): 'file' | 'directory' {
  const stat = statSync(source, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return 'directory';
  if (stat?.isFile() === true) return 'file';
  const [code, problem] =
    stat === undefined
      ? (['config.missing-file', 'is not there'] as const)
      : (['config.bad-path', 'is neither a file nor a directory'] as const);
  throw new ComicranError(code, `${source}, which is to be mounted at ${path}, ${problem}`, {
    hint: 'What is bound must be a file or directory of each machine that the sandbox runs on.',
  });
}

/** In the root directory the mount point has been made; here it may lie in a tmpfs. */
export function makeMountPoint(bind: Bind, target: string): void {
  if (statSync(target, { throwIfNoEntry: false }) !== undefined) return;
  if (sourceKind(bind) === 'directory') mkdirSync(target, { recursive: true });
  else {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, '', { flag: 'wx' });
  }
}
