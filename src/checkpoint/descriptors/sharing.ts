import { parseDescriptorInfo } from '../../linux/fdinfo.ts';
import { compareDescriptions } from '../../linux/kcmp.ts';
import { O } from '../../linux/open-flags.ts';
import { type DescriptorSource, type Found, isGone } from './source.ts';

type Entry = Omit<Found, 'descriptors'>;

/**
 * Reads the descriptor table and finds which descriptors share an open file description.
 *
 * Only descriptors that look alike can share one, so the kernel is asked within such a group alone. kcmp(2) is an order:
 * a group is sorted by it and equals come to stand side by side, n log n calls instead of n².
 *
 * @returns the descriptions in the order of their first descriptors.
 */
export function readTable(source: DescriptorSource): Found[] {
  const groups = new Map<string, Entry[]>();
  for (const number of source.directory.numbers()) {
    const entry = readEntry(source, number);
    if (entry === null) continue;
    const key = `${entry.link}\0${entry.flags}\0${entry.info.mountId}\0${entry.info.inode}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [entry]);
    else group.push(entry);
  }
  const found: Found[] = [];
  for (const group of groups.values()) found.push(...splitByDescription(source, group));
  return found.sort((a, b) => a.number - b.number);
}

/** @returns null: it has been closed meanwhile. */
function readEntry(source: DescriptorSource, number: number): Entry | null {
  try {
    const link = source.directory.link(number).toString('utf8');
    const text = source.directory.info(number);
    const info = parseDescriptorInfo(text);
    return { number, link, text, info, flags: info.flags & ~O.CLOEXEC };
  } catch (error) {
    if (isGone(source.context, error)) return null;
    throw error;
  }
}

function splitByDescription(source: DescriptorSource, group: readonly Entry[]): Found[] {
  const order = (a: Entry, b: Entry): number => {
    try {
      return compareDescriptions(source.pid, a.number, b.number);
    } catch (error) {
      if (isGone(source.context, error)) return a.number - b.number;
      throw error;
    }
  };
  const sorted = group.length === 1 ? group : group.toSorted(order);
  const found: Found[] = [];
  for (let start = 0; start < sorted.length; ) {
    let end = start + 1;
    while (end < sorted.length && order(sorted[start]!, sorted[end]!) === 0) end++;
    // The sort is stable, so that equals still ascend by number.
    const same = sorted.slice(start, end);
    const descriptors = same.map(({ number, info }) => ({ number, closeOnExec: (info.flags & O.CLOEXEC) !== 0 }));
    found.push({ ...same[0]!, descriptors });
    start = end;
  }
  return found;
}
