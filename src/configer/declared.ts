/**
 * Where a path of the sandbox leads: to a file that the configuration puts there, or else to the host's file of the same
 * path. The closure asks this, so that a program of the configuration's own is found like one of the host's.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { resolveInTree } from '../base/sandbox-tree.ts';
import type { CopiedItem } from './directory-copy.ts';
import { systemCode } from './host-files.ts';
import type { Place } from './library-search.ts';

export class Declared {
  readonly #files: ReadonlyMap<string, string>;
  readonly #links: ReadonlyMap<string, string>;

  /**
   * @param files path in the sandbox -> source on the host.
   * @param links path in the sandbox -> target.
   */
  constructor(files: ReadonlyMap<string, string>, links: ReadonlyMap<string, string>) {
    this.#links = links;
    this.#files = new Map([...files].map(([path, source]) => [resolveInTree(path, links) ?? path, source]));
  }

  static from(items: Iterable<CopiedItem>): Declared {
    const files = new Map<string, string>();
    const links = new Map<string, string>();
    for (const { path, content } of items) {
      if (content.kind === 'file') files.set(path, content.source);
      if (content.kind === 'symlink') links.set(path, content.target);
    }
    return new Declared(files, links);
  }

  /** Whether the configuration itself puts a file there. */
  has(inside: string): boolean {
    const target = resolveInTree(inside, this.#links);
    return target !== undefined && this.#files.has(target);
  }

  /** The directory of the host whose files the configuration puts into a directory of the sandbox; undefined for none. */
  directory(inside: string): string | undefined {
    for (const [path, source] of this.#files) {
      if (!path.startsWith(`${inside}/`)) continue;
      const rest = path.slice(inside.length);
      if (source.endsWith(rest)) return source.slice(0, -rest.length);
    }
    return undefined;
  }

  /** The files of the configuration alone, at their paths in the sandbox: the part of `node:fs` that looks for modules. */
  fileSystem(): { readonly [call: string]: (path: string) => unknown } {
    const directories = new Set(['/']);
    for (const path of this.#files.keys()) {
      for (let at = posix.dirname(path); at !== '/'; at = posix.dirname(at)) directories.add(at);
    }
    const absent = (path: string): never => {
      throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    };
    const at = (path: string): string => resolveInTree(path, this.#links) ?? absent(path);
    const source = (path: string): string => this.#files.get(at(path)) ?? absent(path);
    const statSync = (path: string) => {
      const isDirectory = directories.has(at(path));
      if (!isDirectory) source(path);
      return { isFile: () => !isDirectory, isDirectory: () => isDirectory, isSymbolicLink: () => false };
    };
    return {
      statSync,
      lstatSync: statSync,
      readFileSync: (path) => readFileSync(source(path)),
      readdirSync: absent,
      readlinkSync: absent,
    };
  }

  /** The regular file at a path of the sandbox. @param host where else it may be, if not at the same path. */
  find(inside: string, host: string = inside): Place | undefined {
    const target = resolveInTree(inside, this.#links);
    if (target === undefined) return undefined;
    const at = this.#files.has(target) || this.#files.size === 0 ? target : byHostLinks(target);
    const declared = this.#files.get(at);
    if (declared !== undefined) return { host: declared, inside: at };
    if (target === posix.normalize(inside)) return isFile(host) ? { host, inside } : undefined;
    return isFile(target) ? { host: target, inside: target } : undefined;
  }
}

/** `/lib/x` is `/usr/lib/x` where the host has merged them: a file that is declared at one is found at the other. */
function byHostLinks(path: string): string {
  try {
    return posix.join(realpathSync(posix.dirname(path)), posix.basename(path));
  } catch {
    return path; // no such directory on the host
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  } catch (thrown) {
    // A directory on the way that is a file, a loop, a name too long: the loader goes on to the next place too.
    if (systemCode(thrown) !== undefined) return false;
    throw thrown;
  }
}
