/** From a base configuration to the full one: decides what belongs to the sandbox, and hashes it. */
import { posix } from 'node:path';
import { pathText } from '../base/config-text.ts';
import { ComicranError } from '../base/errors.ts';
import { fullConfigProblems } from '../base/full-config.ts';
import type { FileEntry, FullConfig } from '../base/sandbox-config.ts';
import { isWithin } from '../base/sandbox-tree.ts';
import type { BaseConfig, Placed } from './base-config.ts';
import { type Closure, type ClosureContext, closureOf } from './closure.ts';
import { Declared } from './declared.ts';
import { type CopiedItem, copiedTo, copyInPlace } from './directory-copy.ts';
import { parseElf } from './elf.ts';
import { type Hashed, hashFile } from './hash.ts';
import { type Chain, kindOf, look, realPath, withFile } from './host-files.ts';
import type { LoaderFacts, Place } from './library-search.ts';
import { LD_CACHE_FILE } from './loader-facts.ts';
import { PERMISSION_BITS, SandboxTree, type TreeEntry } from './tree.ts';

/** Bytes that are to be read in all, how many have been, and of which file they are. */
export type Progress = { readonly file: string; readonly doneBytes: number; readonly totalBytes: number };

export type ResolveOptions = {
  /** Directory that relative sources start at: that of the configuration file. */
  readonly directory: string;
  readonly facts: LoaderFacts;
  /** Directory with the files of `etc: minimal`. */
  readonly minimalEtc: string;
  readonly onProgress?: (progress: Progress) => void;
};

const MINIMAL_ETC = ['passwd', 'group', 'hosts', 'nsswitch.conf'];
const SHOWN_PROBLEMS = 20;
const DEFAULT_DIRECTORY_MODE = 0o755;

/** Something of the configuration for a path that is not, or need not be, its own on the host. */
type Given = CopiedItem & { readonly chain: Chain; readonly implied: boolean };

/**
 * The same files on the host give the same full configuration, byte for byte.
 *
 * @throws ComicranError that names the thing, the chain that led to it (`square -> /usr/bin/node -> libfoo.so.1`), and
 * what to do.
 */
export async function resolveConfig(base: BaseConfig, options: ResolveOptions): Promise<FullConfig> {
  const tree = buildTree(base, options);
  const entries = tree.entries();
  const hashes = await hashSources(entries, options.onProgress);
  const config: FullConfig = {
    version: 1,
    id: base.id,
    ...(base.root === undefined ? {} : { root: base.root }),
    process: { ...base.process, executable: insideOf(base.process.executable) },
    network: base.network,
    files: entries.flatMap((entry): FileEntry[] =>
      entry.kind === 'file'
        ? [{ path: entry.path, source: entry.source, ...hashes.get(entry.source)!, mode: entry.mode }]
        : [],
    ),
    symlinks: entries.flatMap((entry) =>
      entry.kind === 'symlink' ? [{ path: entry.path, target: entry.target }] : [],
    ),
    directories: entries.flatMap((entry) =>
      entry.kind === 'directory' ? [{ path: entry.path, mode: entry.mode }] : [],
    ),
    writable: base.writable,
    ...(base.mounts === undefined ? {} : { mounts: base.mounts }),
    ...(base.limits === undefined ? {} : { limits: base.limits }),
    ...(base.security === undefined ? {} : { security: base.security }),
  };
  refuseContradictions(config);
  return config;
}

function insideOf({ source, path }: Placed): string {
  return path ?? source;
}

/** As it is on the host, with the links that lead to it. */
function keepsItsPlace({ path, mode }: Placed): boolean {
  return path === undefined && mode === undefined;
}

/** The whole of it, before anything is hashed. */
function buildTree(base: BaseConfig, options: ResolveOptions): SandboxTree {
  const sourceOf = (file: Placed): string => posix.resolve(options.directory, file.source);
  const { given, inPlace } = sortFiles(base, sourceOf);
  const context: ClosureContext = {
    declared: Declared.from(given),
    facts: options.facts,
    environment: base.process.environment,
  };
  const closures = [base.process.executable, ...base.executables].map((program) => {
    const inside = insideOf(program);
    const chain = [base.id, inside];
    const place = context.declared.find(inside) ?? { host: realPath(sourceOf(program), chain), inside };
    return closureOf(place, chain, context);
  });
  closures.push(...nameServices(closures, context));

  // Whatever keeps its path comes first: a path that is only named in the configuration may lie below one of its links.
  const tree = new SandboxTree();
  const found = closures.flatMap((closure) => closure.found);
  for (const { place, chain } of found) if (place.host === place.inside) tree.hostPath(place.host, chain);
  if (closures.some(({ needsCache }) => needsCache)) tree.hostPath(LD_CACHE_FILE, [base.id, LD_CACHE_FILE]);
  takeInPlace(tree, base.id, inPlace);
  for (const { place, chain } of found)
    if (place.host !== place.inside) tree.put(tree.at(place.inside), fileAt(place.host, chain), chain, true);
  for (const { path, content, chain, implied } of given) tree.put(tree.at(path), content, chain, implied);
  for (const { path, mode } of base.directories) tree.put(tree.at(path), { kind: 'directory', mode }, [base.id, path]);
  makeWorkingDirectory(tree, base);
  if (base.etc === 'minimal') addMinimalEtc(tree, base.id, options.minimalEtc);
  return tree;
}

type Sorted = { readonly given: readonly Given[]; readonly inPlace: readonly string[] };

/** The files and links of the configuration: those with a path of their own, and those that keep the host's. */
function sortFiles(base: BaseConfig, sourceOf: (file: Placed) => string): Sorted {
  const given: Given[] = [];
  const inPlace: string[] = [];
  // First, so that a path of the configuration may lie below one of its links.
  for (const { path, target } of base.symlinks) {
    given.push({ path, content: { kind: 'symlink', target }, chain: [base.id, path], implied: false });
  }
  const programs = [base.process.executable, ...base.executables].filter((file) => !keepsItsPlace(file));
  for (const file of [...programs, ...base.files]) {
    const path = insideOf(file);
    const chain = [base.id, path];
    if (keepsItsPlace(file)) {
      inPlace.push(path);
      continue;
    }
    const source = realPath(sourceOf(file), chain);
    const stats = look(source, chain);
    if (stats.isFile()) {
      const mode = file.mode ?? stats.mode & PERMISSION_BITS;
      given.push({ path, content: { kind: 'file', source, mode }, chain, implied: file.mode === undefined });
    } else if (stats.isDirectory() && file.mode === undefined) {
      given.push(...copiedTo(source, path, chain).map((item) => ({ ...item, chain, implied: false })));
    } else {
      const allowed = stats.isDirectory() ? 'a mode can be given to a file alone' : 'it must be a file or a directory';
      throw new ComicranError(
        'config.bad-path',
        `${source}: it is ${kindOf(stats)}; ${allowed} (${chain.join(' -> ')})`,
        {
          hint: 'Name something else, or leave the mode out; the contents of a directory keep theirs.',
        },
      );
    }
  }
  return { given, inPlace };
}

/** Files and directories that are in the sandbox where they are on the host. */
function takeInPlace(tree: SandboxTree, id: string, paths: readonly string[]): void {
  const ends = paths.map((path) => tree.hostPath(path, [id, path]));
  const roots = ends.filter(({ kind }) => kind === 'directory').map(({ path }) => path);
  for (const [index, { path, kind }] of ends.entries()) {
    if (kind === 'directory') copyInPlace(tree, path, roots, [id, paths[index]!]);
  }
}

/**
 * Up to glibc 2.33 the C library loads what reads /etc/passwd and asks name servers by name, when it is first needed: no
 * object says so. Later ones have it built in.
 */
function nameServices(closures: readonly Closure[], context: ClosureContext): Closure[] {
  const libraries = new Map<string, { place: Place; chain: Chain }>();
  for (const { place, chain } of closures.flatMap(({ found }) => found)) {
    if (posix.basename(place.inside) !== 'libc.so.6' || libraries.has(place.inside)) continue;
    libraries.set(place.inside, { place, chain });
  }
  return [...libraries.values()].flatMap(({ place, chain }) => {
    if (withFile(place.host, chain, (readAt) => parseElf(readAt, place.host)).mentions('GLIBC_2.34')) return [];
    return ['libnss_files.so.2', 'libnss_dns.so.2'].flatMap((name) => {
      const beside = (path: string): string => posix.join(posix.dirname(path), name);
      const found = context.declared.find(beside(place.inside), beside(place.host));
      return found === undefined ? [] : [closureOf(found, [...chain, name], context)];
    });
  });
}

/** It must be there, also where nothing is in it. A writable one is made by jailor. */
function makeWorkingDirectory(tree: SandboxTree, base: BaseConfig): void {
  const writable = (path: string): boolean => base.writable.some((top) => isWithin(path, top));
  const content = { kind: 'directory', mode: DEFAULT_DIRECTORY_MODE } as const;
  const { workingDirectory } = base.process;
  if (workingDirectory !== '/' && !writable(workingDirectory)) {
    tree.put(tree.at(workingDirectory), content, [base.id, workingDirectory], true);
  }
}

/** What a program of Debian looks up although nobody has told it to; what the configuration has itself stays. */
function addMinimalEtc(tree: SandboxTree, id: string, directory: string): void {
  const taken = new Set(tree.entries().map(({ path }) => path));
  for (const name of MINIMAL_ETC) {
    const path = tree.at(`/etc/${name}`);
    if (taken.has(path)) continue;
    const chain = [id, 'etc: minimal', path];
    tree.put(path, { ...fileAt(posix.join(directory, name), chain), mode: 0o644 }, chain);
  }
}

function fileAt(host: string, chain: Chain): { kind: 'file'; source: string; mode: number } {
  const source = realPath(host, chain);
  return { kind: 'file', source, mode: look(source, chain).mode & PERMISSION_BITS };
}

async function hashSources(
  entries: readonly TreeEntry[],
  onProgress: ResolveOptions['onProgress'],
): Promise<ReadonlyMap<string, Hashed>> {
  const chains = new Map(entries.flatMap((entry) => (entry.kind === 'file' ? [[entry.source, entry.chain]] : [])));
  let totalBytes = 0;
  for (const [source, chain] of chains) totalBytes += look(source, chain).size;
  const hashes = new Map<string, Hashed>();
  let doneBytes = 0;
  for (const [source, chain] of chains) {
    const hashed = await hashFile(source, chain, (count) => {
      doneBytes += count;
      onProgress?.({ file: source, doneBytes, totalBytes });
    });
    hashes.set(source, hashed);
  }
  return hashes;
}

/** What can be wrong only when everything is known, such as a writable path that would hide a file. */
function refuseContradictions(config: FullConfig): void {
  const problems = fullConfigProblems(config);
  if (problems.length === 0) return;
  const lines = problems.slice(0, SHOWN_PROBLEMS).map(({ path, found, allowed }) => {
    const key = pathText(path.filter((step) => typeof step === 'string'));
    return `\n  ${key}: ${found}: ${allowed}`;
  });
  if (lines.length < problems.length) lines.push(`\n  and ${problems.length - lines.length} more`);
  throw new ComicranError('config.bad-path', `the sandbox ${config.id} cannot be made like this:${lines.join('')}`, {
    hint: 'Correct the base configuration; docs/configuration.md says what each key is for.',
  });
}
