/** From a base configuration to the full one: decides what belongs to the sandbox, and hashes it. */
import { pathText } from '../base/config-text.ts';
import { ComicranError } from '../base/errors.ts';
import { fullConfigProblems } from '../base/full-config.ts';
import type { FileEntry, FullConfig } from '../base/sandbox-config.ts';
import type { BaseConfig } from './base-config.ts';
import { ConfiguredError } from './configured-error.ts';
import { type ContentsOptions, contentsOf, insideOf } from './contents.ts';
import { type Hashed, hashFile } from './hash.ts';
import { look } from './host-files.ts';
import type { SandboxTree, TreeEntry } from './tree.ts';

/** Bytes that are to be read in all, how many have been, and of which file they are. */
export type Progress = { readonly file: string; readonly doneBytes: number; readonly totalBytes: number };

export type ResolveOptions = ContentsOptions & { readonly onProgress?: (progress: Progress) => void };

const SHOWN_PROBLEMS = 20;

/**
 * The same files on the host give the same full configuration, byte for byte.
 *
 * @throws ComicranError that names the thing, the chain that led to it (`square -> /usr/bin/node -> libfoo.so.1`), and
 * what to do.
 */
export async function resolveConfig(base: BaseConfig, options: ResolveOptions): Promise<FullConfig> {
  const tree = await contentsOf(base, options);
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
        ? [
            {
              path: entry.path,
              source: entry.source,
              ...hashes.get(entry.source)!,
              mode: entry.mode,
              why: whyOf(entry, tree),
            },
          ]
        : [],
    ),
    symlinks: entries.flatMap((entry) =>
      entry.kind === 'symlink' ? [{ path: entry.path, target: entry.target, why: whyOf(entry, tree) }] : [],
    ),
    directories: entries.flatMap((entry) =>
      entry.kind === 'directory' ? [{ path: entry.path, mode: entry.mode }] : [],
    ),
    writable: base.writable,
    ...(base.mounts === undefined ? {} : { mounts: base.mounts }),
    ...(base.limits === undefined ? {} : { limits: base.limits }),
    ...(base.security === undefined ? {} : { security: base.security }),
    ...(base.restart === undefined ? {} : { restart: base.restart }),
    ...(base.logs === undefined ? {} : { logs: base.logs }),
    ...(base.health === undefined ? {} : { health: base.health }),
  };
  refuseContradictions(config);
  return config;
}

/** `library: /usr/bin/node`, where a path is that of a file of the sandbox. */
function whyOf({ origin: { rule, by } }: TreeEntry, tree: SandboxTree): string {
  return `${rule}: ${by.startsWith('/') ? tree.entryOf(by) : by}`;
}

async function hashSources(
  entries: readonly TreeEntry[],
  onProgress: ResolveOptions['onProgress'],
): Promise<ReadonlyMap<string, Hashed>> {
  const chains = new Map(
    entries.flatMap((entry) => (entry.kind === 'file' ? [[entry.source, entry.origin.chain]] : [])),
  );
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
  const failure = new ComicranError(
    'config.bad-path',
    `the sandbox ${config.id} cannot be made like this:${lines.join('')}`,
    {
      hint: 'Correct the base configuration; docs/configuration.md says what each key is for.',
    },
  );
  // Lists that are as they were written; a file may have come from anywhere.
  const own = problems.find(({ path }) => ['process', 'network', 'writable', 'mounts'].includes(String(path[0])));
  throw own === undefined ? failure : new ConfiguredError(own.path, failure);
}
