import type { EpollImage, EpollItemImage } from '../../image/descriptors/types.ts';
import { type EpollItemInfo, parseEpollItems } from '../../linux/fdinfo.ts';
import { isEpollTarget } from '../../linux/kcmp.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

/** @param descriptions of the whole table, in the order of the image. */
export function captureEpoll(source: DescriptorSource, found: Found, descriptions: readonly Found[]): EpollImage {
  const byNumber = new Map(
    descriptions.flatMap((description, index) => description.descriptors.map(({ number }) => [number, index])),
  );
  const seen = new Map<number, number>();
  const items = parseEpollItems(found.text).map((item): EpollItemImage => {
    // Items under the same number are told apart by their order in fdinfo.
    const nth = seen.get(item.number) ?? 0;
    seen.set(item.number, nth + 1);
    const target = findTarget(source.pid, found.number, item, nth, descriptions, byNumber.get(item.number));
    if (target === null) {
      throw new Refusal(
        found.number,
        `an epoll descriptor that watches something which is closed in the process and open elsewhere (it was added as ${item.number})`,
      );
    }
    return { target, number: item.number, events: item.events, data: item.data };
  });
  return { kind: 'epoll', flags: found.flags, items };
}

/**
 * What an item watches, as an index. Nearly always what is open at its number; but a number may be closed, or used for
 * something else, while the watched description lives on through a duplicate. Then it is among those of the same inode.
 */
function findTarget(
  pid: number,
  epoll: number,
  item: EpollItemInfo,
  nth: number,
  descriptions: readonly Found[],
  atNumber: number | undefined,
): number | null {
  const isTarget = ({ number }: Found): boolean => isEpollTarget(pid, number, epoll, item.number, nth);
  if (atNumber !== undefined && isTarget(descriptions[atNumber]!)) return atNumber;
  const index = descriptions.findIndex((candidate) => candidate.info.inode === item.inode && isTarget(candidate));
  return index < 0 ? null : index;
}
