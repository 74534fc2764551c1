/** What belongs to a sandbox: everything that its configuration names and that these things need, as a tree. */
import { join, posix } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import { isWithin } from '../base/sandbox-tree.ts';
import type { Path } from '../base/schema.ts';
import { type BaseConfig, DEFAULT_DEPENDENCIES, type Placed } from './base-config.ts';
import { type Closure, type ClosureContext, closureOf } from './closure.ts';
import { forKey, withKey } from './configured-error.ts';
import { Declared } from './declared.ts';
import { type CopiedItem, copiedTo, copyInPlace } from './directory-copy.ts';
import { type Chain, kindOf, look, type Origin, realPath } from './host-files.ts';
import type { LoaderFacts } from './library-search.ts';
import { LD_CACHE_FILE } from './loader-facts.ts';
import { askRules, type Brought } from './rules/all.ts';
import type { Want } from './rules/rule.ts';
import { PERMISSION_BITS, SandboxTree } from './tree.ts';

export type ContentsOptions = {
  /** Directory that relative sources start at: that of the configuration file. */
  readonly directory: string;
  readonly facts: LoaderFacts;
  /** Directory of the files that configer brings along: `etc/` for `etc: minimal`, and helpers of the rules. */
  readonly share: string;
  /** Told what cannot be seen from outside and may be missing: a sentence without a full stop. */
  readonly onNote?: (text: string) => void;
};

const MINIMAL_ETC = ['passwd', 'group', 'hosts', 'nsswitch.conf'];
const DEFAULT_DIRECTORY_MODE = 0o755;

/** Something of the configuration for a path that is not, or need not be, its own on the host. */
type Given = CopiedItem & { readonly origin: Origin; readonly implied: boolean; readonly at: Path };

/** @throws ComicranError that names the thing, the chain that led to it, and what to do. */
export async function contentsOf(base: BaseConfig, options: ContentsOptions): Promise<SandboxTree> {
  const sourceOf = (file: Placed): string => posix.resolve(options.directory, file.source);
  const { given, inPlace } = sortFiles(base, sourceOf);
  const declared = Declared.from(given);
  const closureContext: ClosureContext = {
    declared,
    facts: options.facts,
    environment: base.process.environment,
  };
  const programs = programsOf(base).map(([program, by, at]): Closure => {
    const inside = insideOf(program);
    const chain = [base.id, inside];
    return forKey(at, () => {
      const place = declared.find(inside) ?? { host: realPath(sourceOf(program), chain), inside };
      return closureOf(place, { chain, rule: 'configuration', by }, closureContext);
    });
  });
  const notes = new Set<string>();
  const brought = await askRules(
    {
      ...closureContext,
      base,
      programs,
      found: programs.flatMap(({ found }) => found),
      share: options.share,
      note: (text) => notes.add(text),
    },
    base.dependencies ?? DEFAULT_DEPENDENCIES,
  ).catch((thrown: unknown) => {
    throw withKey(['process'], thrown);
  });
  for (const note of notes) options.onNote?.(note);
  return treeOf(base, { given, inPlace, programs, brought }, options);
}

type Parts = Sorted & { readonly programs: readonly Closure[]; readonly brought: Brought };

function treeOf(base: BaseConfig, parts: Parts, options: ContentsOptions): SandboxTree {
  const { given, inPlace, programs, brought } = parts;
  // Whatever keeps its path comes first: a path that is only named in the configuration may lie below one of its links.
  const tree = new SandboxTree();
  const found = [...programs.flatMap((closure) => closure.found), ...brought.objects];
  for (const one of found) if (one.place.host === one.place.inside) tree.hostPath(one.place.host, one);
  if (brought.needsCache || programs.some(({ needsCache }) => needsCache)) {
    tree.hostPath(LD_CACHE_FILE, { chain: [base.id, LD_CACHE_FILE], rule: 'loader', by: base.id });
  }
  const named = inPlace.map(([path, key, at]) => ({ path, origin: configured(base.id, path, key), at }));
  const wanted = brought.others
    .filter(keepsPlace)
    .map((want) => ({ path: want.place.host, origin: want, at: ['process'] }));
  takeInPlace(tree, [...named, ...wanted]);
  for (const one of found)
    if (one.place.host !== one.place.inside) putFile(tree, one.place.inside, one.place.host, one);
  for (const { path, content, origin, implied, at } of given)
    forKey(at, () => tree.put(tree.at(path), content, origin, implied));
  for (const want of brought.others) putElsewhere(tree, want);
  for (const [index, { path, mode }] of base.directories.entries()) {
    const origin = configured(base.id, path, 'directories');
    forKey(['directories', index], () => tree.put(tree.at(path), { kind: 'directory', mode }, origin));
  }
  makeWorkingDirectory(tree, base);
  if (base.etc === 'minimal') addMinimalEtc(tree, base.id, join(options.share, 'etc'));
  return tree;
}

function configured(id: string, path: string, key: string): Origin {
  return { chain: [id, path], rule: 'configuration', by: key };
}

export function insideOf({ source, path }: Placed): string {
  return path ?? source;
}

/** With the key of each, as `why` has it and with its number. */
type Keyed<T> = readonly [item: T, key: string, at: Path];

function programsOf(base: BaseConfig): Keyed<Placed>[] {
  return [
    [base.process.executable, 'process.executable', ['process', 'executable']],
    ...base.executables.map((file, index): Keyed<Placed> => [file, 'executables', ['executables', index]]),
  ];
}

/** As it is on the host, with the links that lead to it. */
function keepsItsPlace({ path, mode }: Placed): boolean {
  return path === undefined && mode === undefined;
}

type Sorted = {
  readonly given: readonly Given[];
  readonly inPlace: readonly Keyed<string>[];
};

/** The files and links of the configuration: those with a path of their own, and those that keep the host's. */
function sortFiles(base: BaseConfig, sourceOf: (file: Placed) => string): Sorted {
  const given: Given[] = [];
  const inPlace: Keyed<string>[] = [];
  // First, so that a path of the configuration may lie below one of its links.
  for (const [index, { path, target }] of base.symlinks.entries()) {
    const origin = configured(base.id, path, 'symlinks');
    given.push({ path, content: { kind: 'symlink', target }, origin, implied: false, at: ['symlinks', index] });
  }
  const programs = programsOf(base).filter(([file]) => !keepsItsPlace(file));
  const files = base.files.map((file, index): Keyed<Placed> => [file, 'files', ['files', index]]);
  for (const [file, key, at] of [...programs, ...files]) {
    const path = insideOf(file);
    if (keepsItsPlace(file)) inPlace.push([path, key, at]);
    else given.push(...forKey(at, () => givenOf(file, sourceOf(file), configured(base.id, path, key), at)));
  }
  return { given, inPlace };
}

function givenOf(file: Placed, named: string, origin: Origin, at: Path): Given[] {
  const { chain } = origin;
  const path = insideOf(file);
  const source = realPath(named, chain);
  const stats = look(source, chain);
  if (stats.isFile()) {
    const mode = file.mode ?? stats.mode & PERMISSION_BITS;
    return [{ path, content: { kind: 'file', source, mode }, origin, implied: file.mode === undefined, at }];
  }
  if (stats.isDirectory() && file.mode === undefined) {
    return copiedTo(source, path, chain).map((item) => ({ ...item, origin, implied: false, at }));
  }
  const allowed = stats.isDirectory() ? 'a mode can be given to a file alone' : 'it must be a file or a directory';
  throw new ComicranError('config.bad-path', `${source}: it is ${kindOf(stats)}; ${allowed} (${chain.join(' -> ')})`, {
    hint: 'Name something else, or leave the mode out; the contents of a directory keep theirs.',
  });
}

type PlacedWant = Extract<Want, { readonly as: 'file' | 'directory' }>;

function keepsPlace(want: Want): want is PlacedWant {
  return (want.as === 'file' || want.as === 'directory') && want.place.host === want.place.inside;
}

type InPlace = { readonly path: string; readonly origin: Origin; readonly at: Path };

/** Files and directories that are in the sandbox where they are on the host. */
function takeInPlace(tree: SandboxTree, items: readonly InPlace[]): void {
  const ends = items.map(({ path, origin, at }) => ({
    ...forKey(at, () => tree.hostPath(path, origin)),
    origin,
    at,
  }));
  const directories = ends.filter(({ kind }) => kind === 'directory');
  const roots = directories.map(({ path }) => path);
  for (const { path, origin, at } of directories) forKey(at, () => copyInPlace(tree, path, roots, origin));
}

/** What a rule has brought for a path that is not its own on the host. */
function putElsewhere(tree: SandboxTree, want: Want): void {
  if (want.as === 'link') {
    tree.put(tree.at(want.path), { kind: 'symlink', target: want.target }, want, true);
  } else if ((want.as === 'file' || want.as === 'directory') && want.place.host !== want.place.inside) {
    const { host, inside } = want.place;
    if (want.as === 'file') putFile(tree, inside, host, want);
    else {
      for (const { path, content } of copiedTo(realPath(host, want.chain), inside, want.chain))
        tree.put(tree.at(path), content, want, true);
    }
  }
}

/** A file that nobody has named gives way to one of the configuration that is at its path. */
function putFile(tree: SandboxTree, inside: string, host: string, origin: Origin): void {
  tree.put(tree.at(inside), fileAt(host, origin.chain), origin, true);
}

/** It must be there, also where nothing is in it. A writable one is made by jailor. */
function makeWorkingDirectory(tree: SandboxTree, base: BaseConfig): void {
  const { workingDirectory } = base.process;
  const made = [...base.writable, ...(base.mounts ?? []).map(({ path }) => path)];
  if (workingDirectory === '/' || made.some((top) => isWithin(workingDirectory, top))) return;
  const content = { kind: 'directory', mode: DEFAULT_DIRECTORY_MODE } as const;
  tree.put(tree.at(workingDirectory), content, configured(base.id, workingDirectory, 'process.workingDirectory'), true);
}

/** What a program of Debian looks up although nobody has told it to; what the configuration has itself stays. */
function addMinimalEtc(tree: SandboxTree, id: string, directory: string): void {
  const taken = new Set(tree.entries().map(({ path }) => path));
  for (const name of MINIMAL_ETC) {
    const path = tree.at(`/etc/${name}`);
    if (taken.has(path)) continue;
    const chain = [id, 'etc: minimal', path];
    const content = { ...fileAt(posix.join(directory, name), chain), mode: 0o644 };
    tree.put(path, content, { chain, rule: 'configuration', by: 'etc' });
  }
}

function fileAt(host: string, chain: Chain): { kind: 'file'; source: string; mode: number } {
  const source = realPath(host, chain);
  return { kind: 'file', source, mode: look(source, chain).mode & PERMISSION_BITS };
}
