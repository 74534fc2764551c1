/** What is in a directory of the host, for one that the sandbox is to have too. */
import { readdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import { isWithin } from '../base/sandbox-tree.ts';
import { type Chain, chainText, fileError, kindOf, linkTargetOf, look, type Origin, systemCode } from './host-files.ts';
import { PERMISSION_BITS, type SandboxTree, type TreeDirectory, type TreeFile, type TreeLink } from './tree.ts';

export type CopiedItem = { readonly path: string; readonly content: TreeFile | TreeLink | TreeDirectory };

const MAX_DEPTH = 200;

/**
 * The contents of a directory for another path: files and directories with their modes. A link that stays within the
 * directory, written relative, stays a link; one that leads to a file elsewhere becomes that file; one that leads nowhere
 * stays as it is.
 *
 * @param directory on the host, links resolved.
 * @throws ComicranError for what cannot be copied, by name.
 */
export function copiedTo(directory: string, inside: string, chain: Chain): CopiedItem[] {
  const items: CopiedItem[] = [{ path: inside, content: directoryOf(look(directory, chain)) }];
  walk(directory, chain, 0, (host, stats) => {
    const path = posix.join(inside, posix.relative(directory, host));
    if (stats.isDirectory()) items.push({ path, content: directoryOf(stats) });
    else if (stats.isFile()) items.push({ path, content: fileOf(host, stats) });
    else items.push({ path, content: linkOrFile(host, directory, chain) });
  });
  return items;
}

/** The contents of a directory at the same path, links kept. @param roots all directories that are taken whole. */
export function copyInPlace(tree: SandboxTree, directory: string, roots: readonly string[], origin: Origin): void {
  const { chain } = origin;
  tree.put(directory, directoryOf(look(directory, chain)), origin);
  walk(directory, chain, 0, (host, stats) => {
    if (stats.isDirectory()) tree.put(host, directoryOf(stats), origin);
    else if (stats.isFile()) tree.put(host, fileOf(host, stats), origin, true);
    else if (leadsTo(host, chain) === undefined) {
      tree.put(host, { kind: 'symlink', target: linkTargetOf(host, chain) }, origin);
    } else {
      const end = tree.hostPath(host, { ...origin, chain: [...chain, host] });
      const taken = roots.some((root) => isWithin(end.path, root));
      if (end.kind === 'directory' && !taken) throw leadsOut(host, end.path, chain);
    }
  });
}

function walk(directory: string, chain: Chain, depth: number, visit: (host: string, stats: Stats) => void): void {
  if (depth > MAX_DEPTH) throw badPath(`${directory}: it lies more than ${MAX_DEPTH} directories deep`, chain);
  let names: string[];
  try {
    names = readdirSync(directory).toSorted();
  } catch (cause) {
    throw fileError(directory, chain, cause);
  }
  for (const name of names) {
    const host = posix.join(directory, name);
    const stats = look(host, chain);
    if (!stats.isDirectory() && !stats.isFile() && !stats.isSymbolicLink()) {
      throw badPath(`${host}: it is ${kindOf(stats)}; only files, directories and links can be copied`, chain);
    }
    visit(host, stats);
    if (stats.isDirectory()) walk(host, chain, depth + 1, visit);
  }
}

function linkOrFile(host: string, root: string, chain: Chain): TreeFile | TreeLink {
  const target = linkTargetOf(host, chain);
  const end = leadsTo(host, chain);
  const literal = posix.relative(root, posix.resolve(posix.dirname(host), target));
  const staysWithin = !target.startsWith('/') && literal !== '..' && !literal.startsWith('../');
  if (end === undefined || staysWithin) return { kind: 'symlink', target };
  const stats = statSync(end);
  if (stats.isFile()) return fileOf(end, stats);
  throw leadsOut(host, end, chain);
}

/** Where a link ends; undefined if nothing is there. @throws ComicranError if it leads in a circle. */
function leadsTo(link: string, chain: Chain): string | undefined {
  try {
    return realpathSync(link);
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT' || systemCode(thrown) === 'ENOTDIR') return undefined;
    throw fileError(link, chain, thrown);
  }
}

function directoryOf(stats: Stats): TreeDirectory {
  return { kind: 'directory', mode: stats.mode & PERMISSION_BITS };
}

function fileOf(source: string, stats: Stats): TreeFile {
  return { kind: 'file', source, mode: stats.mode & PERMISSION_BITS };
}

function leadsOut(link: string, end: string, chain: Chain): ComicranError {
  return badPath(`${link}: it is a link to ${end}, which is not a file and not in a copied directory`, chain);
}

function badPath(problem: string, chain: Chain): ComicranError {
  return new ComicranError('config.bad-path', `${problem} (${chainText(chain)})`, {
    hint: 'List what it leads to among the files as well, or copy a directory without it.',
  });
}
