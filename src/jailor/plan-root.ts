/**
 * The tree under a sandbox's root directory, checked. Pure.
 *
 * The promise: carried out in an empty directory, the operations never follow a symbolic link, so nothing outside the
 * directory is touched, whatever the configuration says. It holds because every ancestor of every path that is made is a
 * directory of this very plan.
 */
import { posix } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import type { Operation } from './operations.ts';

const DEFAULT_DIRECTORY_MODE = 0o755;
const ANYBODY_MODE = 0o1777;
/** Kernel file systems are mounted here. */
const KERNEL_MOUNT_POINTS = ['/dev', '/proc'];
const WORLD_WRITABLE = ['/tmp', '/var/tmp', '/dev/shm'];

type Entry = 'directory' | 'file' | 'symbolic link';

class Tree {
  readonly #entries = new Map<string, Entry>([['/', 'directory']]);
  readonly #modes = new Map<string, number>();

  isBehindLink(path: string): boolean {
    for (let at = path; at !== '/'; at = posix.dirname(at)) {
      if (this.#entries.get(at) === 'symbolic link') return true;
    }
    return false;
  }

  modeOf(path: string): number | undefined {
    return this.#modes.get(path);
  }

  directory(path: string, mode?: number): void {
    this.#checkPath(path);
    const there = this.#entries.get(path);
    if (there !== undefined && there !== 'directory') refuse(path, `is a ${there} and a directory at once`);
    if (there === undefined) this.#parent(path);
    this.#entries.set(path, 'directory');
    if (mode !== undefined) this.#modes.set(path, mode);
  }

  leaf(path: string, kind: 'file' | 'symbolic link'): void {
    this.#checkPath(path);
    if (this.#entries.has(path)) refuse(path, `is named twice: as a ${this.#entries.get(path)} and as a ${kind}`);
    this.#parent(path);
    this.#entries.set(path, kind);
  }

  #parent(path: string): void {
    const parent = posix.dirname(path);
    const there = this.#entries.get(parent);
    if (there !== undefined && there !== 'directory') refuse(path, `lies behind the ${there} ${parent}`);
    if (there === undefined) this.directory(parent);
  }

  #checkPath(path: string): void {
    const normal = posix.normalize(path);
    const trimmed = normal.length > 1 ? normal.replace(/\/+$/, '') : normal;
    if (!path.startsWith('/') || trimmed !== path || path.startsWith('//') || path.includes('\0')) {
      refuse(path, 'is not an absolute path in normal form');
    }
  }

  /** Parents before children. */
  directories(): { path: string; mode: number }[] {
    return [...this.#entries]
      .filter(([path, kind]) => kind === 'directory' && path !== '/')
      .map(([path]) => ({ path, mode: this.#modes.get(path) ?? DEFAULT_DIRECTORY_MODE }))
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }
}

function refuse(path: string, problem: string): never {
  throw new ComicranError('config.bad-path', `the path '${path}' ${problem}`, {
    hint: 'Correct the configuration, or write it again with comicran configer.',
  });
}

const isBelow = (path: string, directory: string): boolean => path.startsWith(`${directory}/`);

export type RootPlan = {
  /** In the empty root directory. */
  readonly operations: readonly Operation[];
  /** Where something is mounted. Sorted, so that one that lies in another comes behind it. */
  readonly mountPoints: readonly { readonly path: string; readonly mode: number }[];
};

/** @throws ComicranError config.bad-path */
export function planRoot(config: FullConfig): RootPlan {
  const tree = new Tree();
  // Links first: what lies behind one is then told so.
  for (const { path } of config.symlinks) tree.leaf(path, 'symbolic link');
  for (const { path, mode } of config.directories) tree.directory(path, mode);
  for (const { path } of config.files) tree.leaf(path, 'file');
  for (const path of KERNEL_MOUNT_POINTS) tree.directory(path);

  const contents = [...config.files, ...config.symlinks].map(({ path }) => path);
  const writablePaths = new Set([...config.writable, ...(config.mounts ?? []).map(({ path }) => path)]);
  // Every program expects a /tmp; a configuration that puts files there has another idea of it.
  if (!contents.some((path) => path === '/tmp' || isBelow(path, '/tmp'))) writablePaths.add('/tmp');
  for (const path of writablePaths) {
    if (path === '/') refuse(path, 'cannot be writable: the root is read-only');
    if (path === '/proc' || isBelow(path, '/proc') || path === '/dev') refuse(path, 'belongs to the kernel');
    tree.directory(path);
    const hidden = contents.find((other) => isBelow(other, path));
    if (hidden !== undefined) refuse(hidden, `would be hidden: ${path} is writable, which means empty at the start`);
  }
  for (const path of KERNEL_MOUNT_POINTS) {
    const hidden = contents.find((other) => isBelow(other, path));
    if (hidden !== undefined) refuse(hidden, `would be hidden: the kernel's own ${path} is mounted there`);
  }
  // One that is reached by a symbolic link is somewhere else; whether it is there shows when the process is started.
  if (!tree.isBehindLink(config.process.workingDirectory)) tree.directory(config.process.workingDirectory);

  const operations: Operation[] = [
    ...tree.directories().map((directory): Operation => ({ kind: 'make-directory', ...directory })),
    ...config.files.map(
      ({ path, source, sha256, size, mode }): Operation => ({ kind: 'place-file', path, source, sha256, size, mode }),
    ),
    ...config.symlinks.map(({ path, target }): Operation => ({ kind: 'make-symlink', path, target })),
    ...(config.mounts ?? []).flatMap((spec): Operation[] => {
      const isInTmpfs = [...writablePaths].some((other) => isBelow(spec.path, other));
      if (spec.kind !== 'bind' || isInTmpfs) return [];
      return [{ kind: 'fit-mount-point', path: spec.path, source: spec.source }];
    }),
  ];
  const mountPoints = [...writablePaths].toSorted().map((path) => ({
    path,
    mode: tree.modeOf(path) ?? (WORLD_WRITABLE.includes(path) ? ANYBODY_MODE : DEFAULT_DIRECTORY_MODE),
  }));
  return { operations, mountPoints };
}
