import type { FullConfig } from '../../base/sandbox-config.ts';

/** Jailor makes one here too, unless the configuration has files there: then it is found to be read-only, and left out. */
const ALWAYS = '/tmp';

/** Where a sandbox can have file systems of its own in memory. What is bound from the VM does not move. */
export function writtenPaths({ writable, mounts = [] }: FullConfig): string[] {
  const bound = new Set(mounts.flatMap(({ kind, path }) => (kind === 'bind' ? [path] : [])));
  const all = new Set([...writable, ...mounts.map(({ path }) => path), ALWAYS]);
  return [...all].filter((path) => !bound.has(path)).toSorted();
}

/** Where a sandbox can write to files of the VM, unless it is no matter who does. */
export function machineFiles({ mounts = [] }: FullConfig): string[] {
  const written = mounts.filter((one) => one.kind === 'bind' && one.writable === true && one.scratch !== true);
  return written.map(({ path }) => path).toSorted();
}
