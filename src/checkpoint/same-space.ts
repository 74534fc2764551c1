/** Whether two address spaces have the same areas, however the kernel has cut them into pieces. */
import type { MapsEntry } from '../linux/procfs.ts';

type Piece = { readonly start: bigint; end: bigint; readonly kind: string };

/** @param extra an area that the second has and the first has not: readable, writable, executable, private and nameless. */
export function isSameSpace(
  first: readonly MapsEntry[],
  second: readonly MapsEntry[],
  extra: { readonly base: bigint; readonly size: bigint },
): boolean {
  const added: MapsEntry = {
    start: extra.base,
    end: extra.base + extra.size,
    permissions: 'rwxp',
    offset: 0n,
    device: '00:00',
    inode: 0,
    name: '',
  };
  const expected = pieces([...first, added].sort((a, b) => (a.start < b.start ? -1 : 1)));
  const found = pieces(second);
  return (
    expected.length === found.length &&
    expected.every(({ start, end, kind }, index) => {
      const other = found[index]!;
      return start === other.start && end === other.end && kind === other.kind;
    })
  );
}

/** Areas that touch and are alike, as one. */
function pieces(entries: readonly MapsEntry[]): Piece[] {
  const found: Piece[] = [];
  for (const { start, end, permissions, device, inode, offset, name } of entries) {
    // Of a file: what part of it stands where.
    const position = inode === 0 ? '' : String(start - offset);
    const kind = `${permissions} ${device} ${inode} ${position} ${name}`;
    const last = found.at(-1);
    if (last !== undefined && last.end === start && last.kind === kind) last.end = end;
    else found.push({ start, end, kind });
  }
  return found;
}
