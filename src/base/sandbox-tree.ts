/** What must hold of the files, links and directories of a sandbox together. */
import { posix } from 'node:path';
import type { FullConfig } from './sandbox-config.ts';
import type { Path, Problem } from './schema.ts';

/** Made by jailor in every sandbox. /dev/shm is a directory of files all the same and may be declared writable. */
const OWN_OF_THE_SANDBOX = ['/proc', '/sys', '/dev'];
const WRITABLE_ALL_THE_SAME = '/dev/shm';
/** As many links as the kernel follows before it says ELOOP (path_resolution(7)). */
const MAX_LINKS = 40;

export function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

export function ownDirectoryOf(path: string): string | undefined {
  return OWN_OF_THE_SANDBOX.find((own) => isWithin(path, own));
}

type Tree = Pick<FullConfig, 'files' | 'symlinks' | 'directories' | 'writable' | 'mounts' | 'process'>;
type Kind = 'file' | 'symlink' | 'directory' | 'writable';

export function treeProblems(config: Tree): Problem[] {
  const problems: Problem[] = [];
  const kinds = new Map<string, Kind>();
  const wrong = (path: Path, found: string, allowed: string): void => {
    problems.push({ path, at: 'value', found, allowed });
  };

  const place = (path: string, kind: Kind, at: Path): void => {
    const own = ownDirectoryOf(path);
    const shadows = kind === 'writable' ? path === '/' : path === '/' && kind !== 'directory';
    if (shadows) wrong(at, path, 'not the root directory itself');
    else if (own !== undefined && !(kind === 'writable' && path === WRITABLE_ALL_THE_SAME))
      wrong(at, path, `not in ${own}, which every sandbox has of its own`);
    // A writable path may be listed as a directory too: it is where the tmpfs is mounted.
    const known = kinds.get(path);
    const mountPoint = known === 'directory' && kind === 'writable';
    if (known !== undefined && !mountPoint) wrong(at, path, `only once; it is a ${known} already`);
    kinds.set(path, kind);
  };
  const entries = entriesOf(config);
  for (const { path, kind, at } of entries) place(path, kind, at);
  // What is in a directory of the machine, links too, nobody knows before it is mounted.
  const bound = new Set((config.mounts ?? []).flatMap(({ kind, path }) => (kind === 'bind' ? [path] : [])));
  for (const { path, kind: own, at } of entries) {
    for (let above = posix.dirname(path); above !== '/'; above = posix.dirname(above)) {
      const kind = kinds.get(above);
      if (kind === undefined || kind === 'directory') continue;
      if (kind === 'writable' && own === 'writable' && !bound.has(above)) continue;
      const writable = bound.has(above) ? "the machine's own" : 'an empty writable directory';
      wrong(at, path, `not below ${above}, which is ${kind === 'writable' ? writable : `a ${kind}`}`);
      break;
    }
  }
  problems.push(...executableProblems(config));
  return problems;
}

function entriesOf(config: Tree): { readonly path: string; readonly kind: Kind; readonly at: Path }[] {
  return [
    ...config.files.map(({ path }, index) => ({ path, kind: 'file' as const, at: ['files', index, 'path'] })),
    ...config.symlinks.map(({ path }, index) => ({ path, kind: 'symlink' as const, at: ['symlinks', index, 'path'] })),
    ...config.directories.map(({ path }, index) => ({
      path,
      kind: 'directory' as const,
      at: ['directories', index, 'path'],
    })),
    ...config.writable.map((path, index) => ({ path, kind: 'writable' as const, at: ['writable', index] })),
    ...(config.mounts ?? []).map(({ path }, index) => ({
      path,
      kind: 'writable' as const,
      at: ['mounts', index, 'path'],
    })),
  ];
}

/** A path with every symbolic link of the configuration followed; undefined where they form a loop. */
export function resolveInTree(path: string, links: ReadonlyMap<string, string>): string | undefined {
  const pending = path.split('/').filter((name) => name !== '');
  let resolved = '';
  let followed = 0;
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === '.') continue;
    if (name === '..') {
      resolved = resolved.slice(0, Math.max(0, resolved.lastIndexOf('/')));
      continue;
    }
    const target = links.get(`${resolved}/${name}`);
    if (target === undefined) {
      resolved = `${resolved}/${name}`;
      continue;
    }
    if (++followed > MAX_LINKS) return undefined;
    if (target.startsWith('/')) resolved = '';
    pending.unshift(...target.split('/').filter((part) => part !== ''));
  }
  return resolved === '' ? '/' : resolved;
}

function executableProblems(config: Tree): Problem[] {
  const { executable } = config.process;
  const path = ['process', 'executable'];
  const resolved = resolveInTree(executable, new Map(config.symlinks.map((link) => [link.path, link.target])));
  const file = config.files.find((entry) => entry.path === resolved);
  if (file === undefined) {
    const by = resolved === executable || resolved === undefined ? '' : ` (by way of symbolic links ${resolved})`;
    return [{ path, at: 'value', found: `${executable}${by}`, allowed: 'the path of one of the files' }];
  }
  if ((file.mode & 0o111) !== 0) return [];
  return [{ path, at: 'value', found: executable, allowed: 'an executable file; its mode has no x' }];
}
