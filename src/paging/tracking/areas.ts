/** The areas of a process whose writes can be tracked. */
import { type MapsEntry, parseMaps, readProc } from '../../linux/procfs.ts';
import { isSpecialArea } from '../../linux/vdso.ts';
import type { ScannedArea } from '../../linux/write-scan.ts';

/** Private memory, ascending: what is shared with others is not a process's own. */
export function trackedAreas(entries: readonly MapsEntry[]): ScannedArea[] {
  return entries
    .filter(({ permissions, name }) => permissions[3] === 'p' && !isSpecialArea(name) && name !== '[vsyscall]')
    .map(({ start, end, inode }) => ({ start: Number(start), end: Number(end), isFile: inode !== 0 }));
}

/** As {@link trackedAreas}, of a process as it is now. @throws ComicranError process.gone */
export function listAreas(pid: number): ScannedArea[] {
  return trackedAreas(parseMaps(readProc(pid, 'maps')));
}

/** Areas of one kind that touch, as one: fewer calls. */
export function joined(areas: readonly ScannedArea[]): ScannedArea[] {
  const result: ScannedArea[] = [];
  for (const area of areas) {
    const last = result.at(-1);
    if (last !== undefined && last.end === area.start && last.isFile === area.isFile)
      result[result.length - 1] = { ...last, end: area.end };
    else result.push(area);
  }
  return result;
}
