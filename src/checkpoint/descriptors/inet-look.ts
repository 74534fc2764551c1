/** What an inet socket looked like, in a form that is quickly compared with what it looks like now. */
import type { TcpSocketImage, UdpSocketImage } from '../../image/descriptors/types.ts';
import { POLL, pollNow } from '../../linux/file-descriptors.ts';
import { readGroupTables } from '../../linux/multicast.ts';
import { inetOptions } from '../../linux/socket-options.ts';
import { type ReadOption, SocketReading } from '../../linux/socket-reading.ts';
import { IPPROTO_TCP, SO_GET_FILTER, SOL_SOCKET, TCP_INFO } from '../../linux/sockets.ts';

type InetImage = UdpSocketImage | TcpSocketImage;

/** State and queue of a socket that listens; what is behind them counts time. */
const TCP_STATE_BYTES = 32;

function optionsOf({ kind, family }: InetImage): ReadOption[] {
  const filter = { level: SOL_SOCKET, number: SO_GET_FILTER, maxBytes: 0 };
  if (kind === 'udp-socket') return [...inetOptions(family, 'udp'), filter];
  return [...inetOptions(family, 'tcp'), filter, { level: IPPROTO_TCP, number: TCP_INFO, maxBytes: TCP_STATE_BYTES }];
}

export class InetLook {
  readonly #before: SocketReading;
  readonly #now: SocketReading;
  readonly #closed: number;
  readonly #hasFilter: boolean;

  /** @param image tells which options there are, and is to be compared with what the socket is now. */
  constructor(socket: number, image: InetImage) {
    const options = new SocketReading(optionsOf(image)).read(socket).known;
    this.#before = new SocketReading(options).read(socket);
    this.#now = new SocketReading(options);
    this.#closed = closedSides(socket);
    this.#hasFilter = image.filter.length > 0;
  }

  /** Whether the socket is as it was. */
  isSame(socket: number): boolean {
    // Of a filter only the length has been read.
    if (this.#hasFilter) return false;
    return closedSides(socket) === this.#closed && this.#now.read(socket).equals(this.#before);
  }
}

const closedSides = (socket: number): number => pollNow(socket, POLL.RDHUP) & (POLL.HUP | POLL.RDHUP);

/** Who is a member of which multicast group in the network of a process. */
export class GroupLook {
  readonly #pid: number;
  readonly #before: string;

  constructor(pid: number) {
    this.#pid = pid;
    this.#before = textOf(pid);
  }

  /** Whether it is as it was. */
  isSame(): boolean {
    return textOf(this.#pid) === this.#before;
  }
}

function textOf(pid: number): string {
  const { igmp, igmp6 } = readGroupTables(pid);
  return igmp + igmp6;
}
