/** From what a program has used while it ran to what its base configuration lacks. */
import { lstatSync, realpathSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { isNormalPath } from '../../base/config-schemas.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { isWithin, ownDirectoryOf, resolveInTree } from '../../base/sandbox-tree.ts';
import { isElf } from '../elf.ts';
import { withFile } from '../host-files.ts';
import type { Uses } from './tracer.ts';

export type Additions = {
  readonly executables: readonly string[];
  readonly files: readonly string[];
  readonly directories: readonly string[];
  /** What the run did that a list of files cannot bring: sentences without a full stop. */
  readonly notes: readonly string[];
};

/** The loader goes on without them; where one is needed configer takes it. */
const OF_THE_LOADER = ['/etc/ld.so.cache', '/etc/ld.so.preload'];
/** Holds nothing that the module does not. */
const BYTECODE = /\/__pycache__(?:\/|$)/;

/** @returns lists in the order of their paths; the same uses give the same. */
export function additionsTo(config: FullConfig, uses: Uses): Additions {
  const there = new Contents(config);
  const executables = new Set<string>();
  const files = new Set<string>();
  const directories = new Set<string>();
  const notes = new Set<string>();
  for (const [path, kinds] of [...uses].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!isNormalPath(path) || path === '/' || BYTECODE.test(path) || OF_THE_LOADER.includes(path)) continue;
    if (there.isWritable(path)) continue;
    if (kinds.has('write'))
      notes.add(
        `it writes to ${posix.dirname(path)}, which is not writable in the sandbox; 'writable: [${posix.dirname(path)}]' would make it so`,
      );
    if (there.has(path)) continue;
    const stats = statOf(path);
    if (stats === undefined) continue; // made by the program itself, or one of the configuration's own
    if (stats.isDirectory()) directories.add(path);
    else if (!stats.isFile()) notes.add(`it uses ${path}, which is neither a file nor a directory`);
    else if (kinds.has('execute') || isLoadable(path)) executables.add(path);
    else files.add(path);
  }
  const brought = [...executables, ...files];
  return {
    executables: [...executables],
    files: [...files],
    // A directory that one of the files brings need not be named.
    directories: [...directories].filter(
      (path) => !isLink(path) && !brought.some((file) => isWithin(realOf(file), path)),
    ),
    notes: [...notes].toSorted(),
  };
}

class Contents {
  readonly #paths: ReadonlySet<string>;
  readonly #links: ReadonlyMap<string, string>;
  readonly #writable: readonly string[];

  constructor(config: FullConfig) {
    this.#paths = new Set([...config.files, ...config.directories, ...config.symlinks].map(({ path }) => path));
    this.#links = new Map(config.symlinks.map(({ path, target }) => [path, target]));
    const tmp = [...this.#paths].some((path) => isWithin(path, '/tmp')) ? [] : ['/tmp'];
    this.#writable = [...config.writable, ...(config.mounts ?? []).map(({ path }) => path), ...tmp];
  }

  has(path: string): boolean {
    const resolved = resolveInTree(path, this.#links);
    return this.#paths.has(path) || resolved === '/' || (resolved !== undefined && this.#paths.has(resolved));
  }

  /** Also what every sandbox has of its own. */
  isWritable(path: string): boolean {
    return ownDirectoryOf(path) !== undefined || this.#writable.some((top) => isWithin(path, top));
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined; // a loop, or something below a file
  }
}

function isLink(path: string): boolean {
  return lstatSync(path).isSymbolicLink();
}

function realOf(path: string): string {
  return realpathSync(path);
}

/** A shared library or plugin: what it needs comes along when it is listed as an executable. */
function isLoadable(path: string): boolean {
  return /\.so(?:\.[0-9.]+)?$|\.node$/.test(path) && withFile(path, [path], (readAt) => isElf(readAt(0, 4)));
}
