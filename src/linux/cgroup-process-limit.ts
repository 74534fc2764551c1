/** The limit of processes of a control group (pids.max), for those that a snapshot needs beside the sandbox's own. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cgroup } from './cgroup.ts';

const read = (path: string, name: string): string => readFileSync(join(path, name), 'latin1').trim();

/**
 * Makes room for so many processes more than there are.
 *
 * @returns what puts the limit back. A limit lower than what there is lets nothing begin and ends nothing.
 */
export function makeRoomForProcesses({ paths }: Pick<Cgroup, 'paths'>, count: number): () => void {
  const path = paths.find((candidate) => existsSync(join(candidate, 'pids.max')));
  if (path === undefined) return () => undefined;
  const limit = read(path, 'pids.max');
  const needed = Number(read(path, 'pids.current')) + count;
  if (limit === 'max' || Number(limit) >= needed) return () => undefined;
  writeFileSync(join(path, 'pids.max'), String(needed));
  return () => writeFileSync(join(path, 'pids.max'), limit);
}
