/** Packages of node_modules: where one begins, what is in it, what it may have on this kind of machine. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { posix } from 'node:path';

const MAX_FILES = 20_000;
const MANIFEST_BYTES = 4 << 20;

/** The directory of the package of node_modules that a file belongs to; undefined for one of the program's own. */
export function packageRoot(path: string): string | undefined {
  return /^(.*\/node_modules\/(?:@[^/]+\/)?[^/@][^/]*)\//.exec(path)?.[1];
}

/** The package.json files that Node reads for a module: the nearest, and all up to the package's own. */
export function manifestsOf(path: string): string[] {
  const root = packageRoot(path);
  const found: string[] = [];
  for (let directory = posix.dirname(path); ; directory = posix.dirname(directory)) {
    const manifest = posix.join(directory, 'package.json');
    if (posix.basename(directory) !== 'node_modules' && isFile(manifest)) found.push(manifest);
    if (directory === root || directory === '/' || posix.basename(directory) === 'node_modules') return found;
    if (root === undefined && found.length > 0) return found;
  }
}

/** Every file of a package, sorted; packages inside it left out. */
export function filesOf(root: string): string[] {
  const files: string[] = [];
  const pending = [root];
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = posix.join(directory, entry.name);
      if (entry.isDirectory() && entry.name !== 'node_modules') pending.push(path);
      else if (entry.isFile() || (entry.isSymbolicLink() && isFile(path))) files.push(path);
      if (files.length > MAX_FILES) return files.toSorted();
    }
  }
  return files.toSorted();
}

type Manifest = {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
};

/** Packages that carry this kind of machine's share of another: `@scope/name-linux-x64` and the like, that are there. */
export function platformPackages(root: string): string[] {
  const names = Object.keys(readManifest(root)?.optionalDependencies ?? {}).toSorted();
  return names.flatMap((name) => {
    for (let directory = root; directory !== '/'; directory = posix.dirname(directory)) {
      const place = posix.join(directory, 'node_modules', name);
      const manifest = readManifest(place);
      if (manifest === undefined) continue;
      const forOneKind = manifest.os !== undefined || manifest.cpu !== undefined;
      return forOneKind && allows(manifest.os, 'linux') && allows(manifest.cpu, 'x64') && allows(manifest.libc, 'glibc')
        ? [place]
        : [];
    }
    return [];
  });
}

function allows(list: readonly string[] | undefined, name: string): boolean {
  return (
    list === undefined || list.includes(name) || (!list.includes(`!${name}`) && list.every((one) => one[0] === '!'))
  );
}

function readManifest(root: string): Manifest | undefined {
  try {
    const path = posix.join(root, 'package.json');
    if (statSync(path).size > MANIFEST_BYTES) return undefined;
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined; // none, or one that Node could not read either
  }
}

export function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
