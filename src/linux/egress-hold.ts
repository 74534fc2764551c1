/**
 * Holding in the kernel what a sandbox sends: a token bucket before the sandbox's own end of the link. Closed, it keeps
 * packets in order; opened, it passes them at once. It is there, open, from the beginning of the link, because a device
 * drops what it is given while its discipline is replaced; the sender notices nothing of it in any case.
 */
import { ComicranError } from '../base/errors.ts';
import { ETHER_TYPE, ETHERNET_HEADER_BYTES, encodeFrame, MAC_BYTES } from '../base/packets/ethernet.ts';
import { FrameSender } from './packet-socket.ts';
import {
  addTokenBucket,
  changeTokenBucket,
  type Discipline,
  findDiscipline,
  getDiscipline,
  getLink,
  type Link,
  RouteSocket,
  type TokenBucket,
} from './rtnetlink/index.ts';

/** Number of the discipline: how it is known to be this one's. */
const MAJOR = 0xc0d8;
/** Most packets that wait. */
const LIMIT_PACKETS = 32_768;
/**
 * Counted in addition to the length of every packet: closed, the first one that waits does so for 16 hours; open, packets
 * cost about the same whatever their length.
 */
const OVERHEAD_BYTES = 60_000;
const CLOSED_RATE = 1n;
/**
 * 512 packets at once, then 500,000 a second: what waited must not overrun the receiving CPU's backlog
 * (net.core.netdev_max_backlog, 1,000 packets).
 */
const OPEN_PACKETS_PER_SECOND = 500_000n;
const OPEN_BURST_PACKETS = 512;
const OPEN_RATE = OPEN_PACKETS_PER_SECOND * BigInt(OVERHEAD_BYTES);

const WARM_ROUNDS = 30;

const closed = (link: Link): TokenBucket => ({
  rate: CLOSED_RATE,
  overheadBytes: OVERHEAD_BYTES,
  burstBytes: link.mtu + ETHERNET_HEADER_BYTES,
  limitPackets: LIMIT_PACKETS,
});
const OPEN: TokenBucket = {
  rate: OPEN_RATE,
  overheadBytes: OVERHEAD_BYTES,
  burstBytes: OPEN_BURST_PACKETS * OVERHEAD_BYTES,
  limitPackets: LIMIT_PACKETS,
};

/** How many packets have left the hold of a link, as 32 bits. @throws KernelError ENOENT: the link has none */
export function leftHold(routes: RouteSocket, link: number): number {
  return getDiscipline(routes, link, MAJOR).sentPackets;
}

/** Open and closed alike. */
export function isHold({ major }: Discipline): boolean {
  return major === MAJOR;
}

/** A hold that passes everything, and in which nothing waits. */
export function isOpenHold({ major, rate, waitingPackets }: Discipline): boolean {
  return major === MAJOR && rate === OPEN_RATE && waitingPackets === 0;
}

/** Puts an open hold before a link that has none. @throws KernelError ENOENT: this kernel has no token buckets */
export function addOpenHold(routes: RouteSocket, link: number): void {
  routes.applyAll(addTokenBucket(link, MAJOR, OPEN));
}

/**
 * Opens what a program that has died has left closed; where there is no hold, or an open one, nothing changes. In the network
 * namespace of the calling thread.
 */
export function openHoldLeftBehind(linkName: string): void {
  using routes = new RouteSocket();
  const link = getLink(routes, linkName);
  using queued = new FrameSender(link.index, { bypass: false });
  const present = findDiscipline(routes, link.index);
  if (present !== undefined && isHold(present)) new EgressHold(routes, link, queued).open();
}

export class EgressHold {
  readonly #routes: RouteSocket;
  readonly #link: Link;
  readonly #queued: FrameSender;

  /** @param queued sends through the link's queue; it stays the caller's, as `routes` does. */
  constructor(routes: RouteSocket, link: Link, queued: FrameSender) {
    this.#routes = routes;
    this.#link = link;
    this.#queued = queued;
  }

  /**
   * Makes the hold, open. Where there is none yet, the device drops what it sends in that moment.
   * @throws ComicranError needs.kernel
   */
  prepare(): void {
    const present = findDiscipline(this.#routes, this.#link.index);
    try {
      if (present?.major !== MAJOR) addOpenHold(this.#routes, this.#link.index);
      // Goes through what has to be quick later: a hold that is open is opened again.
      if (present?.major !== MAJOR || isOpenHold(present))
        for (let round = 0; round < WARM_ROUNDS; round++) this.open();
    } catch (cause) {
      throw new ComicranError('needs.kernel', `link ${this.#link.name} cannot be held`, {
        cause,
        hint: "Load a token bucket filter with 'modprobe sch_tbf', or use a kernel with CONFIG_NET_SCH_TBF.",
      });
    }
  }

  /** One more packet may pass: the bucket begins full, and this program's own frame, or another, takes what is in it. */
  close(): void {
    this.#routes.apply(changeTokenBucket(this.#link.index, MAJOR, closed(this.#link)));
    this.#sendOwnFrame(this.#link.mtu);
  }

  /** What waits goes first. */
  open(): void {
    this.#routes.apply(changeTokenBucket(this.#link.index, MAJOR, OPEN));
    // A queue is looked at when a packet comes.
    this.#sendOwnFrame(0);
  }

  /** A frame that no host takes for its own. */
  #sendOwnFrame(payloadBytes: number): void {
    const nobody = Buffer.alloc(MAC_BYTES);
    this.#queued.trySend(encodeFrame(nobody, nobody, ETHER_TYPE.EXPERIMENTAL, Buffer.alloc(payloadBytes)));
  }
}
