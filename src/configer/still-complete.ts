/** Whether a full configuration still is what this machine has: content by digest, and what programs in it need now. */
import { readlinkSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import type { FileEntry, FullConfig } from '../base/sandbox-config.ts';
import { resolveInTree } from '../base/sandbox-tree.ts';
import { type ClosureContext, closureOf } from './closure.ts';
import { Declared } from './declared.ts';
import { isElf } from './elf.ts';
import { hashFile } from './hash.ts';
import { withFile } from './host-files.ts';
import type { LoaderFacts } from './library-search.ts';
import { LD_CACHE_FILE } from './loader-facts.ts';

export type Finding = {
  /** `gone`, `changed`: a file of the configuration; `incomplete`: something that one needs is not in the sandbox. */
  readonly kind: 'gone' | 'changed' | 'incomplete' | 'clash';
  readonly path: string;
  readonly problem: string;
};

/** @returns what is not as it was, sorted by path; nothing where the sandbox can be made and has all that it needs. */
export async function checkConfig(config: FullConfig, facts: LoaderFacts): Promise<Finding[]> {
  const findings: Finding[] = [];
  const unchanged: FileEntry[] = [];
  const known = new Map<string, string | undefined>();
  for (const file of config.files) {
    const key = `${file.source} ${file.sha256}`;
    if (!known.has(key)) known.set(key, await problemOf(file));
    const problem = known.get(key);
    if (problem === undefined) unchanged.push(file);
    else findings.push({ kind: problem.startsWith('is gone') ? 'gone' : 'changed', path: file.path, problem });
  }
  findings.push(...linkFindings(config), ...incomplete(config, unchanged, facts));
  return findings.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

async function problemOf({ source, sha256, size }: FileEntry): Promise<string | undefined> {
  const stats = statSync(source, { throwIfNoEntry: false });
  if (stats === undefined) return `is gone: ${source} does not exist`;
  if (!stats.isFile()) return `is gone: ${source} is not a file any more`;
  if (stats.size !== size) return `has changed: ${source} has ${stats.size} bytes, it had ${size}`;
  try {
    const now = await hashFile(source, [source], () => {});
    return now.sha256 === sha256 ? undefined : `has changed: ${source} has other content of the same size`;
  } catch (thrown) {
    if (thrown instanceof ComicranError) return `cannot be read: ${thrown.message}`;
    throw thrown;
  }
}

/** Links that are in the sandbox as they were on the machine. */
function linkFindings({ symlinks }: FullConfig): Finding[] {
  return symlinks.flatMap(({ path, target }): Finding[] => {
    let now: string;
    try {
      now = readlinkSync(path);
    } catch {
      return []; // no link of the machine's, or none any more: the sandbox has it all the same
    }
    return now === target
      ? []
      : [{ kind: 'changed', path, problem: `has changed: it leads to ${now}, it led to ${target}` }];
  });
}

/** Libraries, loaders and interpreters that unchanged programs need and the sandbox has not. */
function incomplete(config: FullConfig, unchanged: readonly FileEntry[], facts: LoaderFacts): Finding[] {
  const links = new Map(config.symlinks.map(({ path, target }) => [path, target]));
  const inside = new Set(config.files.map(({ path }) => path));
  const context: ClosureContext = {
    declared: new Declared(new Map(unchanged.map(({ path, source }) => [path, source])), links),
    facts,
    environment: config.process.environment,
  };
  const findings = new Map<string, Finding>();
  const report = (path: string, problem: string): void => {
    if (!findings.has(path)) findings.set(path, { kind: 'incomplete', path, problem });
  };
  for (const { path, source } of unchanged) {
    const isProgram = path === resolveInTree(config.process.executable, links);
    if (!isProgram && !withFile(source, [path], (readAt) => isElf(readAt(0, 4)))) continue;
    const origin = { chain: [config.id, path], rule: 'configuration', by: path };
    try {
      const { found, needsCache } = closureOf({ host: source, inside: path }, origin, context);
      if (needsCache && !inside.has(LD_CACHE_FILE))
        report(LD_CACHE_FILE, `is needed by ${path} and not in the sandbox`);
      for (const { place, by } of found) {
        const entry = resolveInTree(place.inside, links) ?? place.inside;
        if (!inside.has(entry)) report(posix.normalize(place.inside), `is needed by ${by} and not in the sandbox`);
      }
    } catch (thrown) {
      if (!(thrown instanceof ComicranError)) throw thrown;
      report(path, thrown.message);
    }
  }
  return [...findings.values()];
}

/** What several sandboxes cannot have at once: an id, an address, a service port. */
export function clashes(configs: readonly { readonly name: string; readonly config: FullConfig }[]): Finding[] {
  const owners = new Map<string, string>();
  return configs.flatMap(({ name, config }) => {
    const claims = [
      `id ${config.id}`,
      `address ${config.network.address}`,
      ...config.network.ports.flatMap(({ service, protocol }) =>
        service === undefined ? [] : [`service port ${service}/${protocol}`],
      ),
    ];
    return claims.flatMap((claim): Finding[] => {
      const owner = owners.get(claim);
      owners.set(claim, owner ?? name);
      return owner === undefined ? [] : [{ kind: 'clash', path: name, problem: `has the ${claim} of ${owner}` }];
    });
  });
}
