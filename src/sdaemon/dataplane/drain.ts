/** What waits in the sockets of a stopped process, as datagrams that can be sent again. */
import { ComicranError } from '../../base/errors.ts';
import { ENOENT, ESRCH, KernelError } from '../../linux/errno.ts';
import { POLL, writeAll } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { receiveMemory } from '../../linux/socket-memory.ts';
import {
  DatagramReceiver,
  type DestinationOption,
  type ReceivedDatagram,
  restoreOption,
  tellDestinations,
} from '../../linux/socket-message.ts';
import { AF_INET, decodeInetAddress, localAddress } from '../../linux/sockets.ts';
import { openUdpToSelf } from '../../linux/udp.ts';
import type { CarriedDatagram, SourcePackets } from '../../migration/ports.ts';
import type { Readiness } from '../readiness.ts';
import { leadAway } from './leaving-route.ts';
import { closeSockets, openUdpSockets, type ProcessSocket } from './process-sockets.ts';
import { raiseReceiveBuffers } from './receive-buffers.ts';
import { WARM_ROUNDS } from './warm.ts';

export type DrainOptions = {
  readonly readiness: Readiness;
  /** Receive queues with a lower limit than this are given it at once; absent: they stay as they are. */
  readonly receiveLimitBytes?: number;
  /** The sandbox's, on this VM: taken away when the drain begins, where packets have another way (leaving-route.ts). */
  readonly route?: { readonly address: string; readonly linkName: string };
  /** Nothing may have come for so long before the sockets count as quiet. */
  readonly quietMs?: number;
};

/** The route has changed already; only what was on its way comes still, and a virtual CPU may have stood meanwhile. */
const QUIET_MS = 5;
/** Datagrams of one socket before the next one has its turn, and the event loop too. */
const BATCH = 256;
/** Errors in a row that a socket may give up instead of datagrams. */
const MAX_ERRORS = 1024;
const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

type DrainedSocket = ProcessSocket & {
  readonly port: number;
  /** What it is bound to; undefined: to any address. */
  readonly boundAddress: Buffer | undefined;
  readonly option: DestinationOption | undefined;
};

/**
 * The UDP sockets of one process at the source. Made while the process still runs, or at any time after; it holds nothing
 * open but while it drains.
 */
export class DrainedSockets implements SourcePackets {
  readonly #pid: number;
  readonly #options: DrainOptions;
  readonly #receiver = new DatagramReceiver();
  /** Drops of each socket by the time this was made, or of {@link markFreeze}; a younger socket has begun with 0. */
  #dropsBefore: ReadonlyMap<string, number> = new Map();

  constructor(pid: number, options: DrainOptions) {
    this.#pid = pid;
    this.#options = options;
    if (options.receiveLimitBytes !== undefined) raiseReceiveBuffers(pid, options.receiveLimitBytes);
    this.markFreeze();
    this.#warm();
  }

  /** Takes datagrams of its own. Where this machine's loopback is down it does without. @see WARM_ROUNDS */
  #warm(): void {
    let descriptor = -1;
    try {
      descriptor = openUdpToSelf();
      const socket = prepare({ descriptor, inode: '', domain: AF_INET });
      for (let round = 0; round < WARM_ROUNDS; round++) {
        writeAll(descriptor, Buffer.alloc(64));
        this.#takeBatch(socket, () => undefined);
      }
    } catch (thrown) {
      if (!(thrown instanceof KernelError)) throw thrown;
    } finally {
      if (descriptor >= 0) closeDescriptor(descriptor);
    }
  }

  /** Drops count from now on. To be called right before the process is stopped; it need not be stopped yet. */
  markFreeze(): void {
    const sockets = this.#open();
    try {
      this.#dropsBefore = new Map(sockets.map(({ inode, descriptor }) => [inode, receiveMemory(descriptor).drops]));
    } finally {
      closeSockets(sockets);
    }
  }

  /** Where there is no process any more, nothing waits in its sockets. */
  #open(): ProcessSocket[] {
    try {
      return openUdpSockets(this.#pid);
    } catch (thrown) {
      if (thrown instanceof KernelError && (thrown.errno === ENOENT || thrown.errno === ESRCH)) return [];
      throw thrown;
    }
  }

  async drain(
    deliver: (datagram: CarriedDatagram) => void,
    timeoutMs: number,
  ): Promise<{ readonly carried: number; readonly dropped: number }> {
    const { readiness, route, quietMs = QUIET_MS } = this.#options;
    if (route !== undefined) leadAway(route.address, route.linkName);
    const deadline = readiness.nowMs() + timeoutMs;
    const sockets = this.#open().map((socket) => prepare(socket));
    let carried = 0;
    try {
      let quietSince = readiness.nowMs();
      for (;;) {
        let taken = 0;
        for (const socket of sockets) taken += this.#takeBatch(socket, deliver);
        carried += taken;
        const nowMs = readiness.nowMs();
        if (nowMs >= deadline) break;
        if (taken > 0) {
          quietSince = nowMs;
          // What has been delivered goes out before more is taken.
          await readiness.turn();
          continue;
        }
        const quietFor = nowMs - quietSince;
        if (quietFor >= quietMs) break;
        const watched = sockets.map(({ descriptor }) => ({ descriptor, events: POLL.IN }));
        await readiness.waitAny(watched, Math.min(quietMs - quietFor, deadline - nowMs));
      }
      return { carried, dropped: this.#dropped(sockets) };
    } finally {
      for (const { descriptor, option } of sockets) {
        if (option !== undefined) restoreOption(descriptor, option);
        readiness.forget(descriptor);
      }
      closeSockets(sockets);
    }
  }

  #dropped(sockets: readonly DrainedSocket[]): number {
    let dropped = 0;
    for (const { inode, descriptor } of sockets)
      dropped += (receiveMemory(descriptor).drops - (this.#dropsBefore.get(inode) ?? 0)) >>> 0;
    return dropped;
  }

  #takeBatch(socket: DrainedSocket, deliver: (datagram: CarriedDatagram) => void): number {
    let taken = 0;
    for (let errors = 0; taken < BATCH && errors < MAX_ERRORS; ) {
      const received = this.#receiver.take(socket.descriptor);
      if (received === undefined) return taken;
      // An error that waited in the socket (an ICMP message, say) went to the image with it; behind it are datagrams.
      if (typeof received === 'number') {
        errors++;
        continue;
      }
      for (const datagram of carriedFrom(received, socket)) {
        deliver(datagram);
        taken++;
      }
    }
    return taken;
  }
}

function prepare(socket: ProcessSocket): DrainedSocket {
  const { address, port } = decodeInetAddress(localAddress(socket.descriptor));
  const boundAddress = address.every((byte) => byte === 0) ? undefined : address;
  return { ...socket, port, boundAddress, option: tellDestinations(socket.descriptor, socket.domain) };
}

/** An IPv4-mapped address is one of an IPv4 packet. */
function unmapped(address: Buffer): Buffer {
  return address.length === 16 && address.subarray(0, 12).equals(MAPPED_PREFIX) ? address.subarray(12) : address;
}

/** Copies: the receiver's buffer is used again at once. */
function carriedFrom(received: ReceivedDatagram, socket: DrainedSocket): CarriedDatagram[] {
  const destination = received.destinationAddress ?? socket.boundAddress;
  if (destination === undefined)
    throw new ComicranError(
      'process.unsupported',
      'a datagram waits in a socket that does not tell where it was sent to',
    );
  const addresses = {
    sourceAddress: unmapped(received.sourceAddress),
    sourcePort: received.sourcePort,
    destinationAddress: unmapped(destination),
    destinationPort: socket.port,
  };
  const { payload, segmentBytes } = received;
  if (segmentBytes <= 0 || segmentBytes >= payload.length) return [{ ...addresses, payload: Buffer.from(payload) }];
  const datagrams: CarriedDatagram[] = [];
  for (let at = 0; at < payload.length; at += segmentBytes)
    datagrams.push({ ...addresses, payload: Buffer.from(payload.subarray(at, at + segmentBytes)) });
  return datagrams;
}
