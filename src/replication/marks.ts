/** What the UDP sockets of a process that stands still would read next, and what their queues have dropped. */
import { ComicranError } from '../base/errors.ts';
import { KernelError } from '../linux/errno.ts';
import { writeAll } from '../linux/file-descriptors.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { QueueHeads } from '../linux/queue-head.ts';
import { receiveMemory } from '../linux/socket-memory.ts';
import {
  AF_INET6,
  decodeInetAddress,
  localAddress,
  remoteAddress,
  SOL_IPV6,
  tryGetSocketOption,
} from '../linux/sockets.ts';
import { openUdpToSelf } from '../linux/udp.ts';
import type { MarkedSocket } from './receivers.ts';

const IPV6_V6ONLY = 26;
const AF_UNSPEC = 0;
const WARM_ROUNDS = 200;

/** A UDP socket of the process, by a descriptor of this program's own. It stays the caller's, who keeps it open. */
export type WatchedSocket = {
  readonly descriptor: number;
  /** Of the socket: the same one may be known by several descriptors. */
  readonly inode: string;
};

export class SocketMarks {
  readonly #heads = new QueueHeads();
  readonly #dropsBefore: ReadonlyMap<string, number>;
  #watched: readonly { readonly descriptor: number; readonly before: number }[] = [];

  /** Drops count from now on: a datagram that was dropped behind one that still waits is none of the input. */
  constructor(sockets: readonly WatchedSocket[]) {
    this.#dropsBefore = new Map(sockets.map(({ inode, descriptor }) => [inode, receiveMemory(descriptor).drops]));
  }

  /**
   * Goes through everything with a socket of this program's own, in the network namespace of the calling thread. Where
   * its loopback is down it does without.
   */
  warm(also: () => void): void {
    let descriptor = -1;
    try {
      descriptor = openUdpToSelf();
      const own = [{ descriptor, inode: '' }];
      for (let round = 0; round < WARM_ROUNDS; round++) {
        if (round % 16 === 0) writeAll(descriptor, Buffer.alloc(64));
        also();
        this.mark(own);
      }
    } catch (thrown) {
      if (!(thrown instanceof KernelError)) throw thrown;
    } finally {
      this.#watched = [];
      if (descriptor >= 0) closeDescriptor(descriptor);
    }
  }

  /** @throws ComicranError replication.overrun: a queue cannot be looked at, or has dropped something */
  mark(sockets: readonly WatchedSocket[]): MarkedSocket[] {
    const marked: MarkedSocket[] = [];
    const watched: { readonly descriptor: number; readonly before: number }[] = [];
    for (const { descriptor, inode } of sockets) {
      const { drops } = receiveMemory(descriptor);
      watched.push({ descriptor, before: drops });
      const one = this.#look(descriptor);
      if (one === undefined) continue;
      marked.push(one);
      const lost = (drops - (this.#dropsBefore.get(inode) ?? 0)) >>> 0;
      // Before a queue that is empty nothing was lost that matters.
      if (lost > 0 && one.head !== undefined && inode !== '')
        throw new ComicranError(
          'replication.overrun',
          `the queue of port ${one.localPort} has dropped ${lost} datagrams`,
        );
    }
    this.#watched = watched;
    return marked;
  }

  /** @returns undefined: a socket that gets no IPv4 datagrams */
  #look(descriptor: number): MarkedSocket | undefined {
    const local = localAddress(descriptor);
    const { address, port } = decodeInetAddress(local);
    if (port === 0) return undefined;
    if (local.readUInt16LE(0) === AF_INET6) {
      const only = tryGetSocketOption(descriptor, SOL_IPV6, IPV6_V6ONLY, 4);
      if (typeof only !== 'number' && only.readInt32LE(0) !== 0) return undefined;
    }
    const own = ipv4Of(address);
    if (own === undefined) return undefined;
    const head = this.#heads.look(descriptor);
    if (head === 'error')
      throw new ComicranError('replication.overrun', `an error waits at port ${port}, before the datagrams`, {
        hint: 'Start the migration again; nothing has been changed.',
      });
    return {
      localPort: port,
      localAddress: own === 0 ? undefined : own,
      remote: remoteOf(remoteAddress(descriptor)),
      head:
        head === 'empty'
          ? undefined
          : {
              stamp: head.stamp,
              sourceAddress: ipv4Of(head.sourceAddress) ?? 0,
              sourcePort: head.sourcePort,
              payload: head.payload,
            },
    };
  }

  /** Since the mark. */
  drops(): number {
    let drops = 0;
    for (const { descriptor, before } of this.#watched) drops += (receiveMemory(descriptor).drops - before) >>> 0;
    return drops;
  }

  close(): void {
    this.#watched = [];
  }
}

function remoteOf(raw: Buffer | null): MarkedSocket['remote'] {
  if (raw === null || raw.readUInt16LE(0) === AF_UNSPEC) return undefined;
  const { address, port } = decodeInetAddress(raw);
  const number = ipv4Of(address);
  return number === undefined ? undefined : { address: number, port };
}

/** As a number; 0: any address. undefined: an IPv6 address that is not of an IPv4 one. */
function ipv4Of(address: Buffer): number | undefined {
  if (address.length === 4) return address.readUInt32BE(0);
  if (address.every((byte) => byte === 0)) return 0;
  const mapped = address.readUInt32BE(0) === 0 && address.readUInt32BE(4) === 0 && address.readUInt32BE(8) === 0xffff;
  return mapped ? address.readUInt32BE(12) : undefined;
}
