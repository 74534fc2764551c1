/** The areas of a process whose writes can be tracked. */
import { type MapsEntry, parseMaps, readProc } from '../../linux/procfs.ts';
import { isSpecialArea } from '../../linux/vdso.ts';
import type { ScannedArea } from '../../linux/write-scan.ts';

/**
 * Private memory, ascending: what is shared with others is not a process's own. The kernel writes the list of a process that
 * runs in parts, and an area that has become one with its neighbour in between is told twice: its second part counts.
 */
export function trackedAreas(entries: readonly MapsEntry[]): ScannedArea[] {
  const areas: ScannedArea[] = [];
  let told = 0;
  for (const { start, end, permissions, name, inode } of entries) {
    const from = Math.max(Number(start), told);
    const to = Number(end);
    told = Math.max(told, to);
    const isOwn = permissions[3] === 'p' && !isSpecialArea(name) && name !== '[vsyscall]';
    if (isOwn && from < to) areas.push({ start: from, end: to, isFile: inode !== 0 });
  }
  return areas;
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
