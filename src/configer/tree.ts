/**
 * The tree of a sandbox while it is put together: each path once, as a file, a symbolic link or a directory, and with
 * what led to it. What comes from the host keeps its links: `/lib64/ld-linux-x86-64.so.2` is there by `/lib64`, a link to
 * `usr/lib64`, and a link in that, as on the host, so that a program finds it by any name that it had there.
 */
import { posix } from 'node:path';
import { isNormalPath } from '../base/config-schemas.ts';
import { ComicranError } from '../base/errors.ts';
import { ownDirectoryOf, resolveInTree } from '../base/sandbox-tree.ts';
import { chainText, fileError, kindOf, linkTargetOf, look, notAFile, type Origin } from './host-files.ts';

export type TreeFile = { readonly kind: 'file'; readonly source: string; readonly mode: number };
export type TreeLink = { readonly kind: 'symlink'; readonly target: string };
export type TreeDirectory = { readonly kind: 'directory'; readonly mode: number };
type Content = TreeFile | TreeLink | TreeDirectory;
export type TreeEntry = Content & { readonly path: string; readonly origin: Origin };

/** Directories that nobody has named: those on the way to something. */
const PARENT_MODE = 0o755;
/** Set-user-ID and the like come along only where a mode is given. */
export const PERMISSION_BITS = 0o777;
/** As many links as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40;
const MAX_ENTRIES = 200_000;

export class SandboxTree {
  readonly #entries = new Map<string, TreeEntry & { readonly implied: boolean }>();
  /** Those of the entries that are links, path -> target. */
  readonly #links = new Map<string, string>();

  /** Sorted by path, which puts a directory before what is in it. */
  entries(): TreeEntry[] {
    return [...this.#entries.values()]
      .map(({ implied: _, ...entry }) => entry)
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The path of the entry that a path leads to by way of the links. */
  entryOf(path: string): string {
    return resolveInTree(path, this.#links) ?? path;
  }

  /** Paths below links that are in the tree so far lead to where the links do. */
  at(path: string): string {
    const parent = resolveInTree(posix.dirname(path), this.#links);
    return parent === undefined ? path : posix.join(parent, posix.basename(path));
  }

  /**
   * Takes a path of the host with every link on the way to it, and what it leads to if that is a file.
   *
   * @returns where it leads, and what is there; a directory's contents are not taken.
   */
  hostPath(path: string, origin: Origin): { readonly path: string; readonly kind: 'file' | 'directory' } {
    const { chain } = origin;
    const pending = namesOf(path);
    let at = '';
    let links = 0;
    let mode = PARENT_MODE;
    let kind: 'file' | 'directory' = 'directory';
    for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
      if (name === '..') {
        at = at.slice(0, Math.max(0, at.lastIndexOf('/')));
        continue;
      }
      const next = `${at}/${name}`;
      const stats = look(next, links === 0 ? chain : [...chain, next]);
      if (stats.isSymbolicLink()) {
        if (++links > MAX_LINKS)
          throw fileError(path, chain, Object.assign(new Error('too many links'), { code: 'ELOOP' }));
        const target = linkTargetOf(next, chain);
        this.put(next, { kind: 'symlink', target }, origin);
        pending.unshift(...namesOf(target));
        if (target.startsWith('/')) at = '';
        continue;
      }
      at = next;
      if (stats.isDirectory()) {
        this.put(at, { kind: 'directory', mode: PARENT_MODE }, origin, true);
        continue;
      }
      if (!stats.isFile()) throw notAFile(at, chain, kindOf(stats));
      kind = 'file';
      mode = stats.mode & PERMISSION_BITS;
      if (pending.length > 0)
        throw fileError(`${at}/${pending[0]}`, chain, Object.assign(new Error(), { code: 'ENOTDIR' }));
    }
    if (kind === 'file') this.put(at, { kind: 'file', source: at, mode }, origin, true);
    return { path: at === '' ? '/' : at, kind };
  }

  /**
   * Puts something at a path, and the directories that lead to it.
   *
   * @param implied true where nobody has asked for this mode: one that was asked for takes its place.
   * @throws ComicranError config.bad-path if something else is there, or nothing can be.
   */
  put(path: string, content: Content, origin: Origin, implied = false): void {
    const { chain } = origin;
    if (path === '/' && content.kind === 'directory') return;
    const own = ownDirectoryOf(path);
    if (own !== undefined || path === '/' || !isNormalPath(path)) {
      const problem =
        own === undefined ? 'it is not a path that can be given' : `every sandbox has a ${own} of its own`;
      throw badPath(`${path} cannot be placed in the sandbox: ${problem} (${chainText(chain)})`);
    }
    const there = this.#entries.get(path);
    if (there !== undefined && sameContent(there, content)) {
      if (!implied) this.#entries.set(path, { ...content, path, origin, implied });
      return;
    }
    if (there !== undefined && givesWay(content, origin, implied)) return;
    if (there !== undefined) {
      throw badPath(
        `${path} would be ${describe(there)} (${chainText(there.origin.chain)}) and ${describe(content)} (${chainText(chain)})`,
      );
    }
    this.#parents(path, origin);
    if (this.#entries.size >= MAX_ENTRIES) {
      throw badPath(`the sandbox would have more than ${MAX_ENTRIES} files and directories (${chainText(chain)})`);
    }
    this.#entries.set(path, { ...content, path, origin, implied });
    if (content.kind === 'symlink') this.#links.set(path, content.target);
  }

  #parents(path: string, origin: Origin): void {
    const parent = posix.dirname(path);
    const there = this.#entries.get(parent);
    if (parent === '/' || there?.kind === 'directory') return;
    if (there !== undefined) {
      throw badPath(
        `${path} cannot lie below ${parent}, which is ${describe(there)} (${chainText(there.origin.chain)})`,
      );
    }
    this.put(parent, { kind: 'directory', mode: PARENT_MODE }, origin, true);
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

/** The same but for the mode. */
function sameContent(there: Content, content: Content): boolean {
  if (there.kind === 'directory') return content.kind === 'directory';
  if (there.kind === 'symlink') return content.kind === 'symlink' && there.target === content.target;
  return content.kind === 'file' && there.source === content.source;
}

/** A module that a rule has found does not take the place of another file that the configuration has named. */
function givesWay(content: Content, { rule }: Origin, implied: boolean): boolean {
  return implied && content.kind === 'file' && rule !== 'configuration';
}

function describe(content: Content): string {
  if (content.kind === 'file') return `the file ${content.source}`;
  return content.kind === 'symlink' ? `a link to ${content.target}` : 'a directory';
}

function badPath(message: string): ComicranError {
  return new ComicranError('config.bad-path', message, {
    hint: 'Give each thing a path of its own in the configuration.',
  });
}
