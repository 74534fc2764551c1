/** What differs between two full configurations, in words and as data. */

import type { FileEntry, FullConfig } from '../base/sandbox-config.ts';
import { formatBytes } from '../base/units.ts';

export type Difference = {
  readonly kind: 'added' | 'removed' | 'changed';
  readonly what: 'file' | 'link' | 'directory' | 'key';
  /** A path of the sandbox, or a key: `process.arguments[1]`. */
  readonly path: string;
  /** Each in a few words: what it was, what it is. Of something added or removed: what it is or was. */
  readonly details: readonly string[];
};

/** Sorted: keys, then files, links and directories by path. The same configurations have none. */
export function differences(before: FullConfig, after: FullConfig): Difference[] {
  return [
    ...keyDifferences('', settingsOf(before), settingsOf(after)),
    ...entries('file', before.files, after.files, fileDetails, describeFile),
    ...entries(
      'link',
      before.symlinks,
      after.symlinks,
      (a, b) => (a.target === b.target ? [] : [`${a.target} -> ${b.target}`]),
      ({ target }) => `leads to ${target}`,
    ),
    ...entries(
      'directory',
      before.directories,
      after.directories,
      (a, b) => modeDetails(a.mode, b.mode),
      ({ mode }) => octal(mode),
    ),
  ];
}

/** One line each: `+ file /a (…)`, `- …`, `~ …`. */
export function formatDifference({ kind, what, path, details }: Difference): string {
  const sign = { added: '+', removed: '-', changed: '~' }[kind];
  return `${sign} ${what} ${path}${details.length === 0 ? '' : ` (${details.join('; ')})`}`;
}

function settingsOf({ files: _f, symlinks: _s, directories: _d, ...settings }: FullConfig): unknown {
  return settings;
}

function keyDifferences(path: string, before: unknown, after: unknown): Difference[] {
  const nested = (value: unknown): value is object => typeof value === 'object' && value !== null;
  if (nested(before) && nested(after) && Array.isArray(before) === Array.isArray(after)) {
    const [a, b] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
    const at = (key: string): string =>
      Array.isArray(before) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`;
    return [...new Set([...a.keys(), ...b.keys()])].flatMap((key) => keyDifferences(at(key), a.get(key), b.get(key)));
  }
  if (Object.is(before, after)) return [];
  const [was, is] = [JSON.stringify(before), JSON.stringify(after)];
  if (before === undefined) return [{ kind: 'added', what: 'key', path, details: [is ?? ''] }];
  if (after === undefined) return [{ kind: 'removed', what: 'key', path, details: [was ?? ''] }];
  return [{ kind: 'changed', what: 'key', path, details: [`${was} -> ${is}`] }];
}

function entries<T extends { readonly path: string }>(
  what: Difference['what'],
  before: readonly T[],
  after: readonly T[],
  change: (a: T, b: T) => string[],
  describe: (one: T) => string,
): Difference[] {
  const [a, b] = [byPath(before), byPath(after)];
  const paths = [...new Set([...a.keys(), ...b.keys()])].toSorted((x, y) => (x < y ? -1 : 1));
  return paths.flatMap((path): Difference[] => {
    const [was, is] = [a.get(path), b.get(path)];
    if (was === undefined) return [{ kind: 'added', what, path, details: [describe(is!)] }];
    if (is === undefined) return [{ kind: 'removed', what, path, details: [describe(was)] }];
    const details = change(was, is);
    return details.length === 0 ? [] : [{ kind: 'changed', what, path, details }];
  });
}

function byPath<T extends { readonly path: string }>(list: readonly T[]): Map<string, T> {
  return new Map(list.map((one) => [one.path, one]));
}

function describeFile({ size, why }: FileEntry): string {
  return why === undefined ? formatBytes(size) : `${formatBytes(size)}, ${why}`;
}

/** Why it is there and where it comes from are no differences: the sandbox is the same. */
function fileDetails(a: FileEntry, b: FileEntry): string[] {
  const content = a.sha256 === b.sha256 ? [] : [`content, ${formatBytes(a.size)} -> ${formatBytes(b.size)}`];
  return [...content, ...modeDetails(a.mode, b.mode)];
}

function modeDetails(a: number, b: number): string[] {
  return a === b ? [] : [`mode ${octal(a)} -> ${octal(b)}`];
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
