/**
 * Which ids of a user namespace are which ids of the machine (user_namespaces(7)): /proc/PID/uid_map and gid_map. What procfs,
 * stat(2) and chown(2) tell and take is as the asking program sees it; what a process is told and asks for is as it is inside.
 */
import { writeFileSync } from 'node:fs';
import { readProc, readProcLink } from './procfs.ts';

/** As many ids from `inside` on are, outside, as many from `outside` on. */
export type IdRange = { readonly inside: number; readonly outside: number; readonly count: number };

/** No range: the ids inside are those outside. */
export type IdMaps = { readonly users: readonly IdRange[]; readonly groups: readonly IdRange[] };

export const SAME_IDS: IdMaps = { users: [], groups: [] };

/** (uid_t) -1: what has no id on the other side has this one. chown(2) leaves an owner as it is where it is given this. */
export const NO_ID = 0xffff_ffff;

/** Of the user namespace of a process, as this program sees it. @throws ComicranError process.gone */
export function readIdMaps(pid: number): IdMaps {
  // Among themselves the processes of one namespace see the ids inside, while the file tells of those of its parent.
  if (readProcLink(pid, 'ns/user') === readProcLink('self', 'ns/user')) return SAME_IDS;
  return { users: parseIdMap(readProc(pid, 'uid_map')), groups: parseIdMap(readProc(pid, 'gid_map')) };
}

/** Once for each namespace; needs CAP_SETUID and CAP_SETGID where it was made. */
export function writeIdMaps(pid: number, { users, groups }: IdMaps): void {
  writeFileSync(`/proc/${pid}/uid_map`, formatIdMap(users));
  writeFileSync(`/proc/${pid}/gid_map`, formatIdMap(groups));
}

export function parseIdMap(text: string): IdRange[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [inside, outside, count] = line.trim().split(/\s+/).map(Number);
      return { inside: inside!, outside: outside!, count: count! };
    });
}

/** The kernel takes it in a single write. */
function formatIdMap(ranges: readonly IdRange[]): string {
  return ranges.map(({ inside, outside, count }) => `${inside} ${outside} ${count}\n`).join('');
}

/** @returns {@link NO_ID} where the namespace has no such id. */
export function insideId(ranges: readonly IdRange[], id: number): number {
  return translate(ranges, id, 'outside', 'inside');
}

/** @returns {@link NO_ID} where nobody outside has it. */
export function outsideId(ranges: readonly IdRange[], id: number): number {
  return translate(ranges, id, 'inside', 'outside');
}

function translate(
  ranges: readonly IdRange[],
  id: number,
  from: 'inside' | 'outside',
  to: 'inside' | 'outside',
): number {
  if (ranges.length === 0) return id;
  const range = ranges.find((one) => id >= one[from] && id < one[from] + one.count);
  return range === undefined ? NO_ID : range[to] + (id - range[from]);
}

/** Whether two namespaces have the same ids, in whatever order the ranges are told. */
export function areSameIds(one: IdMaps, other: IdMaps): boolean {
  const told = (ranges: readonly IdRange[]): string => formatIdMap(ranges.toSorted((a, b) => a.inside - b.inside));
  return told(one.users) === told(other.users) && told(one.groups) === told(other.groups);
}
