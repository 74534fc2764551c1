/**
 * Where a path of the sandbox leads: to a file that the configuration puts there, or else to the host's file of the same
 * path. The closure asks this, so that a program of the configuration's own is found like one of the host's.
 */
import { realpathSync, statSync } from 'node:fs';
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
