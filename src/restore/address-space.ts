/** The memory areas of the process, without contents. */
import { ComicranError } from '../base/errors.ts';
import { type AddressSpaceFields, AREA, type MemoryArea, type MemoryImage, PROTECTION } from '../image/types.ts';
import { KernelError } from '../linux/errno.ts';
import { cString } from '../linux/libc.ts';
import { O } from '../linux/open-flags.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';

const AT_FDCWD = -100;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_ANONYMOUS = 0x20;
const MAP_GROWSDOWN = 0x100;
const MAP_NORESERVE = 0x4000;
const MAP_FIXED_NOREPLACE = 0x100000;
const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const PR_SET_VMA = 0x53564d41;
const PR_SET_VMA_ANON_NAME = 0;

/** The advice, madvise(2), that gives an area each flag. */
const ADVICE: readonly (readonly [number, number])[] = [
  [AREA.RANDOM, 1],
  [AREA.SEQUENTIAL, 2],
  [AREA.DONT_FORK, 10],
  [AREA.MERGEABLE, 12],
  [AREA.HUGE_PAGE, 14],
  [AREA.NO_HUGE_PAGE, 15],
  [AREA.DONT_DUMP, 16],
  [AREA.WIPE_ON_FORK, 18],
];

/** @param thread the only thread; descriptors that it has are left as they are. */
export function mapAreas(thread: Tracee, { areas, files }: Pick<MemoryImage, 'areas' | 'files'>): void {
  if (areas.length === 0) return;
  const mark = thread.agent.mark();
  const used = files.filter((_, index) => areas.some(({ file }) => file === index));
  const opened = openFiles(thread, used);
  const descriptors = new Map(used.map((file, index) => [file, opened[index]!]));
  const calls = areas.flatMap((area) =>
    areaCalls(thread, area, area.file === null ? -1 : descriptors.get(files[area.file]!)!),
  );
  for (const [file, descriptor] of descriptors)
    calls.push({ what: `close ${file.path}`, number: SYS.close, args: [descriptor] });
  thread.batch(calls);
  thread.agent.release(mark);
}

/** Takes areas away. */
export function unmapAreas(thread: Tracee, areas: readonly MemoryArea[]): void {
  if (areas.length === 0) return;
  thread.batch(
    areas.map(({ start, end }) => ({
      what: `unmap 0x${start.toString(16)}`,
      number: SYS.munmap,
      args: [start, end - start],
    })),
  );
}

function openFiles(thread: Tracee, files: MemoryImage['files']): number[] {
  if (files.length === 0) return [];
  try {
    const opened = thread.batch(
      files.map(({ path }) => ({
        what: `open ${path}`,
        number: SYS.openat,
        args: [AT_FDCWD, thread.put(cString(path)), O.RDONLY | O.CLOEXEC, 0],
      })),
    );
    return opened.map(Number);
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
    throw new ComicranError('process.unsupported', `a mapped file is missing at the destination: ${cause.message}`, {
      cause,
    });
  }
}

function areaCalls(thread: Tracee, area: MemoryArea, descriptor: number): RemoteCall[] {
  const { start, end, protection, flags } = area;
  const where = `0x${start.toString(16)}`;
  let mapFlags = MAP_FIXED_NOREPLACE | ((flags & AREA.SHARED) !== 0 ? MAP_SHARED : MAP_PRIVATE);
  if (area.file === null) mapFlags |= MAP_ANONYMOUS;
  if ((flags & AREA.GROWS_DOWN) !== 0) mapFlags |= MAP_GROWSDOWN;
  if ((flags & AREA.NO_RESERVE) !== 0) mapFlags |= MAP_NORESERVE;
  // What was writable once is counted against the overcommit limit for ever.
  const once = (flags & AREA.ACCOUNTED) !== 0 ? protection | PROTECTION.WRITE : protection;
  const calls: RemoteCall[] = [
    {
      what: `map ${where}`,
      number: SYS.mmap,
      args: [start, end - start, once, mapFlags, descriptor, area.fileOffset],
    },
  ];
  if (once !== protection)
    calls.push({ what: `protect ${where}`, number: SYS.mprotect, args: [start, end - start, protection] });
  for (const [flag, advice] of ADVICE)
    if ((flags & flag) !== 0)
      calls.push({ what: `advise ${advice} on ${where}`, number: SYS.madvise, args: [start, end - start, advice] });
  if (area.name !== '') {
    const name = thread.put(cString(area.name));
    const args = [PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, end - start, name];
    // Only for people who look: kernels without CONFIG_ANON_VMA_NAME do without.
    calls.push({ what: `name ${where}`, number: SYS.prctl, args, mayFail: true });
  }
  return calls;
}

/** Locks what was locked, once its contents are there. */
export function lockCalls(areas: readonly MemoryArea[]): RemoteCall[] {
  return areas
    .filter(({ flags }) => (flags & AREA.LOCKED) !== 0)
    .map(({ start, end }) => ({
      what: `lock 0x${start.toString(16)}`,
      number: SYS.mlock,
      args: [start, end - start],
      // Memory without any access cannot be locked in.
      mayFail: true,
    }));
}

/** The fields in the order of struct prctl_mm_map. */
const FIELD_ORDER = [
  'startCode',
  'endCode',
  'startData',
  'endData',
  'startBrk',
  'brk',
  'startStack',
  'argStart',
  'argEnd',
  'envStart',
  'envEnd',
] as const satisfies readonly (keyof AddressSpaceFields)[];
const MM_MAP_BYTES = 104;
const KEEP_EXECUTABLE = 0xffff_ffff;

/** Sets what brk(2) and tools read. The areas must be there. */
export function setFields(thread: Tracee, { fields, auxv }: MemoryImage): void {
  const mark = thread.agent.mark();
  const map = Buffer.alloc(MM_MAP_BYTES);
  for (const [index, field] of FIELD_ORDER.entries()) map.writeBigUInt64LE(fields[field], index * 8);
  map.writeBigUInt64LE(thread.put(auxv), 88);
  map.writeUInt32LE(auxv.length, 96);
  map.writeUInt32LE(KEEP_EXECUTABLE, 100);
  thread.call(
    'set the fields of the address space',
    SYS.prctl,
    PR_SET_MM,
    PR_SET_MM_MAP,
    thread.put(map),
    map.length,
    0,
  );
  thread.agent.release(mark);
}
