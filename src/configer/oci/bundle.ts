/**
 * A bundle of the OCI runtime specification (1.x; config.json and a root file system) as a full configuration. Every key
 * that does not carry over is named: what would make the sandbox weaker than it promises, or than the bundle asks for, or
 * leave its program without something, is an error that the operator may ignore by name.
 */
import { realpathSync, statSync } from 'node:fs';
import { basename, posix, resolve } from 'node:path';
import { pathText } from '../../base/config-text.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { FULL_CONFIG_SCHEMA, fullConfigProblems } from '../../base/full-config.ts';
import { placeIn, repeatedKey } from '../../base/json-keys.ts';
import type { FileEntry, FullConfig, PortSpec } from '../../base/sandbox-config.ts';
import { resolveInTree } from '../../base/sandbox-tree.ts';
import type { Problem } from '../../base/schema.ts';
import { readTextFile } from '../../base/text-file.ts';
import { type Hashed, hashFile } from '../hash.ts';
import { type LinuxContext, linuxOf } from './linux.ts';
import { mountsOf } from './mounts.ts';
import { parsePort } from './network.ts';
import { Part } from './part.ts';
import { processOf } from './process.ts';
import { type Finding, Report, shown } from './report.ts';
import { type RootFile, type RootTree, readRootTree, withoutHidden } from './root-tree.ts';

/** Docker's profile of system calls makes some 60 KiB of it. */
const BUNDLE_CONFIG_MAX_BYTES = 1024 * 1024;

export type BundleOptions = {
  readonly id?: string;
  readonly address?: string;
  readonly ports: readonly PortSpec[];
  /** Paths of keys that the operator does without. */
  readonly ignored: readonly string[];
  /** Directories that the program may write to; what is in them is hidden. */
  readonly writable: readonly string[];
} & Pick<LinuxContext, 'alwaysMasked' | 'alwaysReadonly'> & {
    readonly profileFor: (capabilities: readonly string[]) => LinuxContext['profile'];
  };

export type Converted = { readonly config: FullConfig; readonly notes: readonly Finding[] };

const ANNOTATION = 'org.comicran.';
const SHOWN_FINDINGS = 50;
const HASHED_AT_ONCE = 8;

/** @throws ComicranError config.invalid that lists every error; config.missing-file, config.changed-file, usage */
export async function convertBundle(directory: string, options: BundleOptions): Promise<Converted> {
  const bundle = realDirectory(resolve(directory), 'the bundle');
  const file = posix.join(bundle, 'config.json');
  const report = new Report(options.ignored);
  const top = Part.of(readConfig(file), '', report);
  if (top === undefined) throw invalid(file, report);
  checkVersion(top, report);
  const annotations = annotationsOf(top, report);
  const root = top.part('root');
  const tree = rootOf(root, bundle, report);
  const links = new Map(tree.symlinks.map(({ path, target }) => [path, target]));
  const follow = (path: string): string | undefined => resolveInTree(path, links);
  const processPart = top.part('process');
  if (processPart === undefined) report.error('process', 'it is missing');
  const { process, capabilities } = processOf(processPart ?? emptyPart('process', report), report);
  const linux = linuxOf(top.part('linux') ?? emptyPart('linux', report), {
    ...options,
    report,
    profile: options.profileFor(capabilities),
  });
  const mounts = mountsOf(top.parts('mounts'), { bundle, resolve: follow, report });
  const id = options.id ?? annotations.get('id') ?? basename(bundle);
  const hostname = top.text('hostname');
  if (hostname !== undefined && hostname !== id) report.note('hostname', `the host name is the id, ${shown(id)}`);
  hooksOf(top, report);
  top.remark({ domainname: 'a sandbox has no domain of its own' });
  top.refuse({
    solaris: 'it is for Solaris',
    windows: 'it is for Windows',
    vm: 'it is for a machine',
    zos: 'it is for z/OS',
  });
  top.end();

  const writable = options.writable.filter((path) => mounts.every(({ spec }) => spec.path !== path));
  const mountPoints = [...mounts.map(({ spec }) => spec.path), ...writable];
  const visible = withoutHidden(tree, [...mountPoints, ...linux.hidden.map((path) => follow(path) ?? path)]);
  const modes = new Map(tree.directories.map(({ path, mode }) => [path, mode]));
  for (const { spec, mode } of mounts) if (mode !== undefined) modes.set(spec.path, mode);
  const address = options.address ?? annotations.get('address');
  if (address === undefined) report.error('annotations', `an address is needed: --address, or ${ANNOTATION}address`);
  const shape = {
    version: 1 as const,
    id,
    process: { ...process, executable: executableOf(process, visible, follow, report) },
    network: {
      address: address ?? '10.88.0.5',
      ports: options.ports.length > 0 ? options.ports : portsOf(annotations.get('ports') ?? ''),
    },
    symlinks: visible.symlinks,
    directories: [
      ...visible.directories,
      ...mountPoints
        .filter((path) => path !== '/dev/shm' && (modes.has(path) || writable.includes(path)))
        .map((path) => ({ path, mode: modes.get(path) ?? 0o1777 })),
    ].toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    writable,
    ...(mounts.length === 0 ? {} : { mounts: mounts.map(({ spec }) => spec) }),
    ...(Object.keys(linux.limits).length === 0 ? {} : { limits: linux.limits }),
    security: { capabilities, systemCalls: [], ...linux.security },
  };
  checkWhole({ ...shape, files: visible.files.map((one) => ({ ...one, sha256: '0'.repeat(64), size: 0 })) }, report);
  report.nameUnused();
  if (report.of('error').length > 0) throw invalid(file, report);
  return { config: { ...shape, files: await hashAll(visible.files) }, notes: report.of('note') };
}

function readConfig(file: string): unknown {
  const hint = 'Name the directory of a bundle: with a config.json, and a root file system.';
  const text = readTextFile(file, BUNDLE_CONFIG_MAX_BYTES, hint);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const problem = shown(messageOf(cause));
    throw new ComicranError('config.invalid', `${file} is not JSON: ${problem}`, { hint, cause });
  }
  const repeated = repeatedKey(text);
  if (repeated === undefined) return value;
  const { line, column } = placeIn(text, repeated.offset);
  throw new ComicranError(
    'config.invalid',
    `${file}:${line}:${column}: the key ${shown(repeated.key)} stands here twice`,
    {
      hint: 'Leave one of them out; programs differ in which one they take.',
    },
  );
}

function invalid(file: string, report: Report): ComicranError {
  const errors = report.of('error');
  const lines = errors.slice(0, SHOWN_FINDINGS).map(({ path, problem }) => `\n  ${path}: ${problem}`);
  if (errors.length > lines.length) lines.push(`\n  and ${errors.length - lines.length} more`);
  return new ComicranError('config.invalid', `${file} cannot be run as it is:${lines.join('')}`, {
    hint: 'Correct it, or do without a key by --ignore KEY (such as --ignore hooks), once for each.',
  });
}

function emptyPart(path: string, report: Report): Part {
  return Part.of({}, path, report)!;
}

function checkVersion(top: Part, report: Report): void {
  const version = top.text('ociVersion') ?? '';
  if (!/^1\.\d+\.\d+/.test(version)) report.error('ociVersion', `${shown(version)}: versions 1.x are known`);
}

function annotationsOf(top: Part, report: Report): ReadonlyMap<string, string> {
  const part = top.part('annotations');
  const keys = part?.keys() ?? [];
  const own = keys.filter((key) => ['id', 'address', 'ports'].some((name) => key === `${ANNOTATION}${name}`));
  if (keys.length > own.length)
    report.note('annotations', `${keys.length - own.length} that mean nothing to a sandbox`);
  return new Map(own.map((key) => [key.slice(ANNOTATION.length), part!.text(key) ?? '']));
}

function portsOf(text: string): PortSpec[] {
  return text
    .split(/\s+/)
    .filter((one) => one !== '')
    .map(parsePort);
}

function rootOf(part: Part | undefined, bundle: string, report: Report): RootTree {
  const named = part?.text('path') ?? '';
  if (named === '') report.error('root.path', 'it is missing');
  if (part?.flag('readonly') !== true)
    report.note('root.readonly', 'it is always read-only: name what the program writes to with --writable');
  part?.end();
  if (named === '') return { files: [], symlinks: [], directories: [] };
  return readRootTree(realDirectory(posix.resolve(bundle, named), 'root.path'), report);
}

function realDirectory(path: string, what: string): string {
  try {
    const real = realpathSync(path);
    if (statSync(real).isDirectory()) return real;
  } catch (cause) {
    throw new ComicranError('config.missing-file', `${path} (${what}) cannot be read: ${messageOf(cause)}`, {
      hint: 'Name the directory of a bundle: with a config.json, and a root file system.',
      cause,
    });
  }
  throw new ComicranError('config.missing-file', `${path} (${what}) is not a directory`, {
    hint: 'Name the directory of a bundle: with a config.json, and a root file system.',
  });
}

function hooksOf(top: Part, report: Report): void {
  const hooks = top.part('hooks');
  for (const kind of hooks?.keys() ?? []) {
    const list = hooks!.take(kind);
    if (!Array.isArray(list)) report.error(hooks!.at(shown(kind)), 'it is not a list');
    else
      for (const [index, hook] of list.entries()) {
        const program = (hook as { readonly path?: unknown } | null)?.path;
        report.error(`${hooks!.at(shown(kind))}[${index}]`, `${shown(program ?? hook)} would not be run`);
      }
  }
}

/** A name without a slash is looked for in PATH, as execvp(3) does it. */
function executableOf(
  { executable, environment, workingDirectory }: FullConfig['process'],
  tree: RootTree,
  follow: (path: string) => string | undefined,
  report: Report,
): string {
  const runnable = new Set(tree.files.filter(({ mode }) => (mode & 0o111) !== 0).map(({ path }) => path));
  const directories = executable.includes('/')
    ? [workingDirectory]
    : (environment['PATH'] ?? '').split(':').filter((path) => path !== '');
  const places = directories.map((directory) => posix.resolve(workingDirectory, directory, executable));
  const found = places.find((path) => runnable.has(follow(path) ?? ''));
  if (found === undefined && executable !== '')
    report.error('process.args[0]', `${shown(executable)} is no executable file of the root file system`);
  return found ?? '/';
}

/** What the keys alone do not show, with the names that the full configuration has for it. */
function checkWhole(config: FullConfig, report: Report): void {
  const problems: Problem[] = [];
  FULL_CONFIG_SCHEMA.read(config, [], (problem) => problems.push(problem));
  if (problems.length === 0) problems.push(...fullConfigProblems(config));
  for (const { path, found, allowed } of problems) {
    const isKnown = path[0] === 'process' && path[1] === 'executable' && report.of('error').length > 0;
    if (!isKnown) report.error(pathText(path), `${shown(found)}: ${allowed}`);
  }
}

async function hashAll(files: readonly RootFile[]): Promise<FileEntry[]> {
  const hashes = new Map<string, Hashed>();
  const pending = files.values();
  const work = async (): Promise<void> => {
    for (const { source } of pending) hashes.set(source, await hashFile(source, ['root.path'], () => {}));
  };
  await Promise.all(Array.from({ length: HASHED_AT_ONCE }, work));
  return files.map(({ path, source, mode }) => ({ path, source, ...hashes.get(source)!, mode }));
}
