/**
 * The gate before a process that must not be heard: everything that leaves the sandbox goes into a queue of this
 * program's own instead of to the link, and comes out of it to the link, in order, if and when this program says so.
 *
 *     process ─ eth0 ─┬─ redirected (clsact, mirred) ─► TUN device ─► read ─ … ─ release ─┐  past the hold
 *                     └─ hold: a token bucket, closed ────────────────────────────────────┴─► link
 *
 * The redirection stands where the process sends, in its own system call: before any queue, at the same place as the
 * source's tap, and for every IPv4 packet, whatever its destination. It fails closed: when this program dies, its TUN
 * device goes, and the kernel drops what would have gone there; and behind it the hold is closed.
 *
 * To open it, the redirection is taken away first: from then on packets wait in the hold. Then what is in the TUN device
 * goes to the link, and then the hold is opened. A packet that was redirected is in the TUN device before its sender's call
 * returns (the device has no queue before it), and each packet goes one way: so nothing that one thread sends is overtaken,
 * nothing is lost, and nothing goes twice. What a call on another CPU had still to put into the device at that moment
 * follows. The hold stays behind, open.
 *
 * The order holds as far as the VM's end of the link, and further where one CPU receives there for all that the sandbox
 * sends (replay.ts sees to it): what is released and what the process sends come from different CPUs.
 */

import { ComicranError } from '../base/errors.ts';
import { ETHER_TYPE, encodeFrame } from '../base/packets/ethernet.ts';
import { EgressHold, openHoldLeftBehind } from '../linux/egress-hold.ts';
import { EINVAL, ENOENT, KernelError } from '../linux/errno.ts';
import { closeFd, inNetns, openNetns, setNetSysctl } from '../linux/netns.ts';
import { FrameSender } from '../linux/packet-socket.ts';
import {
  addRedirection,
  deleteLink,
  deleteRedirection,
  ensureFilterPoint,
  findLink,
  getLink,
  type Link,
  listNeighbours,
  macBytes,
  RouteSocket,
  setLink,
  setNoQueue,
} from '../linux/rtnetlink/index.ts';
import { LinkCounter } from '../linux/sysfs.ts';
import { TunDevice } from '../linux/tun.ts';
import { isIpv4, PROTOCOL_UDP } from './datagrams.ts';
import { sendInOrder } from './sending.ts';

const DEVICE = 'cr-gate';
const PRIORITY = 0xc0de;
/**
 * 3 s at 10,000 a second; the kernel takes 8 bytes for each at once. Linux 6.1 answers ERANGE to more (seen on Debian's
 * 6.1.0-56); later ones take 65,536.
 */
const QUEUE_PACKETS = 32_767;
const WARM_ROUNDS = 200;

export type OutputGateOptions = {
  /** A process in the sandbox's network namespace. */
  readonly pid: number;
  /** The sandbox's own end of its link: `eth0`. */
  readonly linkName: string;
};

export class OutputGate {
  readonly #routes: RouteSocket;
  readonly #link: Link;
  readonly #tun: TunDevice;
  readonly #dropped: LinkCounter;
  readonly #sandboxMac: Buffer;
  readonly #gatewayMac: Buffer;
  /** Past the hold, and into it. */
  readonly #direct: FrameSender;
  readonly #queued: FrameSender;
  readonly #hold: EgressHold;
  #closed = false;
  #state: 'shut' | 'open' | 'discarded' = 'shut';

  private constructor({ linkName }: OutputGateOptions) {
    const undo: (() => void)[] = [];
    try {
      const routes = new RouteSocket();
      undo.push(() => routes.close());
      this.#routes = routes;
      this.#link = getLink(routes, linkName);
      this.#sandboxMac = macBytes(this.#link.mac);
      this.#gatewayMac = gatewayOf(routes, this.#link);
      this.#direct = new FrameSender(this.#link.index, { bypass: true });
      undo.push(() => this.#direct.close());
      this.#queued = new FrameSender(this.#link.index, { bypass: false });
      undo.push(() => this.#queued.close());
      this.#hold = new EgressHold(routes, this.#link, this.#queued);
      this.#tun = makeDevice(routes, this.#link);
      undo.push(() => this.#tun.close());
      this.#dropped = new LinkCounter(DEVICE, 'tx_dropped');
      undo.push(() => this.#dropped.close());
      this.#shut();
      this.#warm();
    } catch (thrown) {
      for (const step of undo.reverse()) step();
      throw thrown;
    }
  }

  /**
   * A gate that is shut. To be made before the process runs: where the sandbox has never had one, the link drops what is
   * sent in the moment in which it is made. The caller closes it.
   * @throws ComicranError needs.kernel
   */
  static shut(options: OutputGateOptions): OutputGate {
    const netns = openNetns({ pid: options.pid });
    try {
      return inNetns(netns, () => new OutputGate(options));
    } finally {
      closeFd(netns);
    }
  }

  #shut(): void {
    try {
      ensureFilterPoint(this.#routes, this.#link.index);
      this.#hold.prepare();
      removeRedirection(this.#routes, this.#link.index);
      const target = getLink(this.#routes, DEVICE).index;
      this.#routes.apply(addRedirection(this.#link.index, target, PRIORITY));
    } catch (cause) {
      if (!(cause instanceof KernelError)) throw cause;
      throw new ComicranError('needs.kernel', `what leaves link ${this.#link.name} cannot be redirected`, {
        cause,
        hint: "It takes CONFIG_NET_CLS_ACT, CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED and CONFIG_TUN ('modprobe').",
      });
    }
    this.#hold.close();
  }

  /** Goes through what {@link release} and {@link open} do, to no effect: with frames that no host takes for its own. */
  #warm(): void {
    for (let round = 0; round < WARM_ROUNDS; round++) {
      this.#direct.trySend(encodeFrame(Buffer.alloc(6), this.#sandboxMac, ETHER_TYPE.EXPERIMENTAL, Buffer.alloc(64)));
      if (round % 10 !== 0) continue;
      removeRedirection(this.#routes, this.#link.index, PRIORITY - 1);
      this.lost();
    }
  }

  /** Readable when packets wait in the gate. */
  get descriptor(): number {
    return this.#tun.descriptor;
  }

  /** Takes the next packet out of the gate: a view that is valid until the next call. null: none waits. */
  read(): Buffer | null {
    return this.#state === 'shut' ? this.#tun.read() : null;
  }

  /** Sends packets that were read, to where they would have gone, in order. @throws ComicranError replication.overrun */
  release(packets: Iterable<Uint8Array>): void {
    for (const packet of packets) {
      const frame = encodeFrame(this.#gatewayMac, this.#sandboxMac, ETHER_TYPE.IPV4, packet);
      sendInOrder('the gate', () => this.#direct.trySend(frame));
    }
  }

  /** Packets that the queue had no room for. */
  lost(): number {
    return this.#state === 'shut' ? this.#dropped.read() : 0;
  }

  /**
   * Takes the gate away: what is in it goes first, and everything after that goes directly. Packets other than UDP, which
   * the kernel made while nobody was to be heard, are left out.
   * @returns how many packets have gone
   */
  open(): number {
    if (this.#state !== 'shut') return 0;
    removeRedirection(this.#routes, this.#link.index);
    let gone = this.#empty();
    this.#hold.open();
    this.#state = 'open';
    gone += this.#empty();
    return gone;
  }

  #empty(): number {
    let gone = 0;
    for (let packet = this.#tun.read(); packet !== null; packet = this.#tun.read()) {
      if (!isIpv4(packet) || packet[9] !== PROTOCOL_UDP) continue;
      this.release([packet]);
      gone++;
    }
    return gone;
  }

  /** Nothing more leaves the sandbox, and what is in the gate is gone. */
  discard(): void {
    if (this.#state !== 'shut') return;
    this.#state = 'discarded';
    this.#tun.close();
  }

  /** A gate that is still shut stays shut, as {@link discard} leaves it. May be repeated. Takes some milliseconds. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#state === 'open') this.#empty();
    else this.#state = 'discarded';
    this.#tun.close();
    this.#dropped.close();
    this.#direct.close();
    this.#queued.close();
    this.#routes.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Opens what a program that has died has left shut; what was in its gate is lost. Where there is no gate nothing
   * changes, where the gate is open neither.
   */
  static openAbandoned(options: OutputGateOptions): void {
    const netns = openNetns({ pid: options.pid });
    try {
      inNetns(netns, () => {
        using routes = new RouteSocket();
        const link = getLink(routes, options.linkName);
        removeRedirection(routes, link.index);
        openHoldLeftBehind(options.linkName);
      });
    } finally {
      closeFd(netns);
    }
  }
}

function removeRedirection(routes: RouteSocket, link: number, priority = PRIORITY): void {
  try {
    routes.apply(deleteRedirection(link, priority));
  } catch (thrown) {
    // There is none.
    if (!(thrown instanceof KernelError) || (thrown.errno !== ENOENT && thrown.errno !== EINVAL)) throw thrown;
  }
}

function makeDevice(routes: RouteSocket, link: Link): TunDevice {
  // A program that has died has left none; one that is being replaced may be closing it.
  if (findLink(routes, DEVICE) !== undefined) routes.apply(deleteLink(DEVICE));
  const device = new TunDevice(DEVICE);
  try {
    setNetSysctl(`ipv6/conf/${DEVICE}/disable_ipv6`, 1);
  } catch {
    // A kernel without IPv6.
  }
  try {
    routes.apply(setLink(DEVICE, { txQueueLength: QUEUE_PACKETS, mtu: link.mtu }));
    routes.apply(setLink(DEVICE, { up: true }));
    routes.apply(setNoQueue(getLink(routes, DEVICE).index));
    return device;
  } catch (thrown) {
    device.close();
    throw thrown;
  }
}

function gatewayOf(routes: RouteSocket, link: Link): Buffer {
  const gateway = listNeighbours(routes).find((one) => one.link === link.index && one.permanent);
  if (gateway === undefined)
    throw new ComicranError('replication.unsuitable', `link ${link.name} of the sandbox has no permanent neighbour`);
  return macBytes(gateway.mac);
}
