/**
 * Holding packets for a sandbox that does not run here yet: in the kernel, in front of the sandbox's link.
 *
 * A token bucket stands before the VM's end of the link, at first without tokens, so that what is routed there waits in
 * its queue. What is injected passes by it (FrameSender with bypass). To release, the bucket is filled again and again, and
 * at last given a high rate: the kernel sends what waits in the order of arrival, and what arrives meanwhile queues up
 * behind it, under one lock. No
 * route changes, no packet goes through this program, none can overtake another, and should the daemon die the packets
 * wait for the next one.
 *
 * The bucket stays behind, open, until the link goes: a device drops what it is given while its discipline is replaced.
 */

import { ComicranError } from '../../base/errors.ts';
import { ETHER_TYPE, ETHERNET_HEADER_BYTES, encodeFrame, MAC_BYTES } from '../../base/packets/ethernet.ts';
import { EINVAL, ENODEV, ENOENT, KernelError } from '../../linux/errno.ts';
import { FrameSender } from '../../linux/packet-socket.ts';
import { receiveBacklogs } from '../../linux/receive-backlogs.ts';
import {
  addTokenBucket,
  changeTokenBucket,
  type Discipline,
  deleteDiscipline,
  findDiscipline,
  findLink,
  type Link,
  type RouteSocket,
  type TokenBucket,
} from '../../linux/rtnetlink/index.ts';

/** Number of the discipline: how it is known to be this one's. */
const MAJOR = 0xc0de;
/** Most packets that wait: more than 3 s at 10,000 a second. */
const LIMIT_PACKETS = 32_768;
/** Counted in addition to the length of every packet, so that packets cost about the same whatever their length. */
const OVERHEAD_BYTES = 60_000;
const CLOSED_RATE = 1n;
/**
 * Packets of one grant. What waited must not overrun the receiving CPU's backlog (net.core.netdev_max_backlog, 1,000
 * packets), which drops without a word to the queue. A pace in time does not help where that CPU stands still for some
 * milliseconds: so the next grant follows when the CPU has dealt with the last one.
 */
const GRANT_PACKETS = 256;
/** The fill of a CPU's backlog up to which the next grant may follow. */
const NEARLY_EMPTY_PACKETS = 128;
const OPEN_RATE = 10n ** 12n;
const OPEN_BURST_BYTES = 1 << 20;
/** After this long without a nearly empty backlog (other traffic keeps it full) the next grant follows all the same. */
const PATIENCE_MS = 20;
const RELEASE_MS = 5_000;

/** Without tokens it lets the first packet pass after {@link OVERHEAD_BYTES} / {@link CLOSED_RATE} seconds: 16 hours. */
const closed = (link: Link): TokenBucket => ({
  rate: CLOSED_RATE,
  overheadBytes: OVERHEAD_BYTES,
  burstBytes: frameBytes(link),
  limitPackets: LIMIT_PACKETS,
});
/** A change fills the bucket: so many packets pass, and no more. */
const GRANT: TokenBucket = {
  rate: CLOSED_RATE,
  overheadBytes: OVERHEAD_BYTES,
  burstBytes: GRANT_PACKETS * OVERHEAD_BYTES,
  // Room for this program's own frames behind a full queue, and for what comes while it empties.
  limitPackets: 2 * LIMIT_PACKETS,
};
const OPEN: TokenBucket = {
  rate: OPEN_RATE,
  overheadBytes: 0,
  burstBytes: OPEN_BURST_BYTES,
  limitPackets: 2 * LIMIT_PACKETS,
};

/** The longest frame of a link. */
const frameBytes = (link: Link): number => link.mtu + ETHERNET_HEADER_BYTES;

export type HeldPackets = {
  /** That waited when the release began. */
  readonly held: number;
  /** That found the queue full. */
  readonly lost: number;
};

export class PacketHold {
  readonly #routes: RouteSocket;
  readonly #inVm: <T>(run: () => T) => T;
  readonly #linkName: string;
  #sender: FrameSender | undefined;

  /**
   * The caller closes it with {@link dispose}.
   * @param routes of the VM's network namespace; it stays the caller's.
   * @param inVm runs a function with the thread in that namespace.
   */
  constructor(routes: RouteSocket, inVm: <T>(run: () => T) => T, linkName: string) {
    this.#routes = routes;
    this.#inVm = inVm;
    this.#linkName = linkName;
  }

  /**
   * From now on what is routed to the link waits. Nothing may be on its way to it meanwhile. May be repeated.
   * @throws ComicranError sandbox.not-running, needs.kernel
   */
  close(): void {
    const link = findLink(this.#routes, this.#linkName);
    if (link === undefined || !link.up)
      throw new ComicranError('sandbox.not-running', `link ${this.#linkName} of the sandbox is not up`);
    const present = findDiscipline(this.#routes, link.index);
    if (present?.major === MAJOR && present.rate === CLOSED_RATE) return;
    this.#remove(link.index);
    try {
      this.#routes.applyAll(addTokenBucket(link.index, MAJOR, closed(link)));
      // The bucket begins full: a frame of this program's own takes all its tokens.
      this.#sendOwnFrame(link, link.mtu);
      const { sentPackets, waitingPackets } = this.#present(link);
      if (sentPackets !== 1 || waitingPackets !== 0)
        throw new ComicranError('sandbox.setup-failed', `link ${link.name} cannot be held: it passes no packets`);
    } catch (thrown) {
      this.#remove(link.index);
      if (!(thrown instanceof KernelError) || thrown.errno !== ENOENT) throw thrown;
      throw new ComicranError('needs.kernel', 'the kernel cannot hold packets: it has no token bucket filter', {
        cause: thrown,
        hint: "Load it with 'modprobe sch_tbf', or use a kernel with CONFIG_NET_SCH_TBF.",
      });
    }
  }

  /**
   * Sends what waits, in order, and lets everything pass from then on. May be repeated; without a hold it does nothing.
   * @throws ComicranError deadline: it sends the rest all the same.
   */
  async open(): Promise<HeldPackets> {
    const link = findLink(this.#routes, this.#linkName);
    const before = link === undefined ? undefined : findDiscipline(this.#routes, link.index);
    if (link === undefined || before?.major !== MAJOR) return { held: 0, lost: 0 };
    if (before.rate === OPEN_RATE && before.waitingPackets === 0) return { held: 0, lost: before.droppedPackets };
    const change = (bucket: TokenBucket): void => {
      this.#routes.apply(changeTokenBucket(link.index, MAJOR, bucket));
      // A queue is looked at when a packet comes.
      this.#sendOwnFrame(link, 0);
    };
    const deadline = performance.now() + RELEASE_MS;
    for (;;) {
      const { waitingPackets, droppedPackets } = this.#present(link);
      const late = performance.now() > deadline;
      if (late || waitingPackets < GRANT_PACKETS) change(OPEN);
      if (late) throw new ComicranError('deadline', `packets still waited before link ${link.name} when it was opened`);
      if (waitingPackets < GRANT_PACKETS) return { held: before.waitingPackets, lost: droppedPackets };
      change(GRANT);
      await backlogsEmptied();
    }
  }

  /** Takes the hold away, and what waits. May be repeated. */
  discard(): void {
    const link = findLink(this.#routes, this.#linkName);
    if (link !== undefined) this.#remove(link.index);
  }

  #present(link: Link): Discipline {
    const found = findDiscipline(this.#routes, link.index);
    if (found?.major !== MAJOR)
      throw new ComicranError('sandbox.setup-failed', `somebody took away the hold of link ${link.name}`);
    return found;
  }

  #remove(link: number): void {
    if (findDiscipline(this.#routes, link)?.major !== MAJOR) return;
    try {
      this.#routes.apply(deleteDiscipline(link, MAJOR));
    } catch (thrown) {
      if (!(thrown instanceof KernelError) || ![ENOENT, EINVAL, ENODEV].includes(thrown.errno)) throw thrown;
    }
  }

  /** A frame that no host takes for its own, through the bucket. */
  #sendOwnFrame(link: Link, payloadBytes: number): void {
    this.#sender ??= this.#inVm(() => new FrameSender(link.index, { bypass: false }));
    const nobody = Buffer.alloc(MAC_BYTES);
    this.#sender.trySend(encodeFrame(nobody, nobody, ETHER_TYPE.EXPERIMENTAL, Buffer.alloc(payloadBytes)));
  }

  /** May be repeated. Nothing changes in the kernel. Takes some milliseconds, which a packet socket needs to close. */
  dispose(): void {
    this.#sender?.close();
    this.#sender = undefined;
  }
}

/** Until every CPU has dealt with nearly all packets that wait for it, or the patience is at its end. */
async function backlogsEmptied(): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (Math.max(...receiveBacklogs()) > NEARLY_EMPTY_PACKETS && performance.now() < deadline)
    await new Promise((resolve) => setImmediate(resolve));
}
