/** What a socket looked like, in a form that is quickly compared with what it looks like now. */
import type {
  DescriptionImage,
  NetlinkSocketImage,
  TcpSocketImage,
  UdpSocketImage,
} from '../../image/descriptors/types.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { GroupTables } from '../../linux/multicast.ts';
import { NETLINK_MEMBERSHIPS } from '../../linux/netlink-address.ts';
import { inetOptions, NETLINK_OPTIONS } from '../../linux/socket-options.ts';
import { type ReadOption, SocketReading } from '../../linux/socket-reading.ts';
import { IPPROTO_TCP, SO_GET_FILTER, SOL_SOCKET, TCP_INFO } from '../../linux/sockets.ts';

export type ComparableImage = UdpSocketImage | TcpSocketImage | NetlinkSocketImage;

/** Whether a socket's settings, names and state are all that its image is made of. */
export function isComparable(image: DescriptionImage): image is ComparableImage {
  return image.kind === 'udp-socket' || image.kind === 'tcp-socket' || image.kind === 'netlink-socket';
}

/** State and queue of a socket that listens; what is behind them counts time. */
const TCP_STATE_BYTES = 32;

function optionsOf(image: ComparableImage): ReadOption[] {
  if (image.kind === 'netlink-socket') return [...NETLINK_OPTIONS, NETLINK_MEMBERSHIPS];
  const { kind, family } = image;
  const filter = { level: SOL_SOCKET, number: SO_GET_FILTER, maxBytes: 0 };
  if (kind === 'udp-socket') return [...inetOptions(family, 'udp'), filter];
  return [...inetOptions(family, 'tcp'), filter, { level: IPPROTO_TCP, number: TCP_INFO, maxBytes: TCP_STATE_BYTES }];
}

/** Sides that are closed; and messages, where a socket with unread ones cannot be moved. */
const eventsOf = ({ kind }: ComparableImage): number => (kind === 'netlink-socket' ? POLL.IN : POLL.RDHUP);

export class SocketLook {
  readonly #before: SocketReading;
  readonly #now: SocketReading;
  readonly #hasFilter: boolean;

  /** @param image tells which options there are, and is to be compared with what the socket is now. */
  constructor(socket: number, image: ComparableImage) {
    const events = eventsOf(image);
    const options = new SocketReading(socket, optionsOf(image), events).read().known;
    this.#before = new SocketReading(socket, options, events).read();
    this.#now = new SocketReading(socket, options, events);
    this.#hasFilter = image.kind !== 'netlink-socket' && image.filter.length > 0;
  }

  /** Whether the socket, which must still be open, is as it was. Of a filter only the length has been read. */
  isSame(): boolean {
    return !this.#hasFilter && this.#now.read().equals(this.#before);
  }
}

/** Who is a member of which multicast group in the network of a process. */
export class GroupLook {
  readonly #tables: GroupTables;
  readonly #before: string | null;

  constructor(pid: number) {
    this.#tables = new GroupTables(pid);
    this.#before = this.#tables.read();
  }

  /** Whether it is as it was. */
  isSame(): boolean {
    return this.#before !== null && this.#tables.read() === this.#before;
  }

  close(): void {
    this.#tables.close();
  }
}
