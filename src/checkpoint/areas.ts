/** Memory areas: what the kernel says of them, as data or as the reason why they cannot be moved. */
import { AREA, type MemoryArea, PROTECTION } from '../image/types.ts';
import type { SmapsEntry } from '../linux/procfs.ts';

/** An area that cannot be moved, with the reason as a phrase: `a hugetlb mapping at 0x7f…`. */
export type RefusedArea = { readonly refused: string };

/** The letters of VmFlags that are carried, and the bit of the format for each. */
const CARRIED: readonly (readonly [string, number])[] = [
  ['gd', AREA.GROWS_DOWN],
  ['nr', AREA.NO_RESERVE],
  ['dc', AREA.DONT_FORK],
  ['wf', AREA.WIPE_ON_FORK],
  ['dd', AREA.DONT_DUMP],
  ['hg', AREA.HUGE_PAGE],
  ['nh', AREA.NO_HUGE_PAGE],
  ['mg', AREA.MERGEABLE],
  ['sr', AREA.SEQUENTIAL],
  ['rr', AREA.RANDOM],
  ['lo', AREA.LOCKED],
];

/** The letters of VmFlags that stand for what cannot be recreated. */
const REFUSED: readonly (readonly [string, string])[] = [
  ['ht', 'a hugetlb mapping'],
  ['pf', 'a mapping of device memory'],
  ['io', 'a mapping of device memory'],
  ['mm', 'a mapping with pages of a driver'],
  ['ss', 'a shadow stack'],
  ['um', 'memory registered with userfaultfd'],
  ['uw', 'memory registered with userfaultfd'],
  ['ui', 'memory registered with userfaultfd'],
  ['sl', 'sealed memory (mseal)'],
];

/** That memory whose writes are noted; see paging/tracking. */
const TRACKED = 'uw';

/**
 * @param fileIndex the index of a mapped file by its path; called for mappings of files.
 * @param tracked whether this program itself has the writes noted.
 */
export function describeArea(
  entry: SmapsEntry,
  fileIndex: (entry: SmapsEntry) => number,
  tracked = false,
): MemoryArea | RefusedArea {
  const { start, end, permissions, flags, name } = entry;
  const refuse = (what: string): RefusedArea => ({
    refused: `${what} at 0x${start.toString(16)}${name === '' ? '' : ` (${name})`}`,
  });
  for (const [letter, what] of REFUSED) if (flags.has(letter) && !(tracked && letter === TRACKED)) return refuse(what);
  if (entry.protectionKey !== 0) return refuse(`memory with protection key ${entry.protectionKey}`);
  const shared = permissions[3] === 's';
  const isFile = entry.inode !== 0;
  if (isFile && !name.startsWith('/')) return refuse('a mapping of something that is no file');
  if (name.startsWith('/SYSV')) return refuse('System V shared memory');
  if (name.startsWith('/dev/zero (deleted)') || name.startsWith('[anon_shmem:'))
    return refuse('shared anonymous memory');
  if (name.startsWith('/memfd:')) return refuse('a mapping of a memory file');
  if (name.endsWith(' (deleted)')) return refuse('a mapping of a deleted file');
  // `mw`: it may be made writable, so the file was opened for writing.
  if (shared && flags.has('mw')) return refuse('a shared writable mapping of a file');
  const writable = permissions[1] === 'w';
  let bits = shared ? AREA.SHARED : 0;
  for (const [letter, bit] of CARRIED) if (flags.has(letter)) bits |= bit;
  if (flags.has('ac') && !writable) bits |= AREA.ACCOUNTED;
  return {
    start,
    end,
    protection:
      (permissions[0] === 'r' ? PROTECTION.READ : 0) |
      (writable ? PROTECTION.WRITE : 0) |
      (permissions[2] === 'x' ? PROTECTION.EXECUTE : 0),
    flags: bits,
    file: isFile ? fileIndex(entry) : null,
    fileOffset: isFile ? entry.offset : 0n,
    name: /^\[anon:(.*)\]$/.exec(name)?.[1] ?? '',
  };
}
