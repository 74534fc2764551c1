/** Datagrams with everything that recvmsg(2) tells of them. */
import { EAGAIN, EINTR, EMSGSIZE } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import {
  AF_INET6,
  decodeInetAddress,
  IPPROTO_UDP,
  SOL_IP,
  SOL_IPV6,
  tryGetSocketOption,
  trySetSocketOption,
} from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const IP_PKTINFO = 8;
const IPV6_RECVPKTINFO = 49;
const IPV6_PKTINFO = 50;
const UDP_GRO = 104;
/** struct msghdr and struct cmsghdr of x86-64. */
const MSGHDR_BYTES = 56;
const CMSGHDR_BYTES = 16;
const NAME_BYTES = 128;
const CONTROL_BYTES = 4096;
/** Above the longest datagram, so that none is ever cut. */
const PAYLOAD_BYTES = 1 << 17;

export type ReceivedDatagram = {
  /** 4 or 16 bytes; an IPv4 datagram on an IPv6 socket has an IPv4-mapped one. */
  readonly sourceAddress: Buffer;
  readonly sourcePort: number;
  /** From the packet's header. Undefined: the socket was not asked to tell ({@link tellDestinations}). */
  readonly destinationAddress: Buffer | undefined;
  /** A view that is valid until the next call. */
  readonly payload: Buffer;
  /** Not 0: the payload is several datagrams of this length, the last one of what is left (UDP_GRO). */
  readonly segmentBytes: number;
};

/** How a socket is asked to tell the destination addresses, and how it stood before. */
export type DestinationOption = { readonly level: number; readonly option: number; readonly before: Buffer };

/**
 * Makes {@link DatagramReceiver} see the destination address of every datagram, of those too that wait already. It is a
 * setting of the open socket, wherever its descriptors are. @returns what {@link restoreOption} needs; undefined: failed
 */
export function tellDestinations(socket: number, domain: number): DestinationOption | undefined {
  const level = domain === AF_INET6 ? SOL_IPV6 : SOL_IP;
  const option = domain === AF_INET6 ? IPV6_RECVPKTINFO : IP_PKTINFO;
  const before = tryGetSocketOption(socket, level, option, 4);
  if (typeof before === 'number') return undefined;
  const on = Buffer.from([1, 0, 0, 0]);
  return trySetSocketOption(socket, level, option, on) < 0 ? undefined : { level, option, before };
}

export function restoreOption(socket: number, { level, option, before }: DestinationOption): void {
  trySetSocketOption(socket, level, option, before);
}

/** Receives into buffers of its own, which it uses again and again. */
export class DatagramReceiver {
  readonly #header = Buffer.alloc(MSGHDR_BYTES);
  readonly #name = Buffer.alloc(NAME_BYTES);
  readonly #vector = Buffer.alloc(16);
  readonly #payload = Buffer.allocUnsafeSlow(PAYLOAD_BYTES);
  readonly #control = Buffer.alloc(CONTROL_BYTES);

  constructor() {
    this.#vector.writeBigUInt64LE(addressOf(this.#payload), 0);
    this.#vector.writeBigUInt64LE(BigInt(PAYLOAD_BYTES), 8);
    // struct msghdr: name, name length, vector, vector length, control, control length, flags
    this.#header.writeBigUInt64LE(addressOf(this.#name), 0);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(addressOf(this.#control), 32);
  }

  /**
   * Takes the next datagram that waits in a UDP socket. @returns undefined: none waits; a number: the errno of an error
   * that waited in the socket and is gone from it with this call.
   */
  take(socket: number): ReceivedDatagram | number | undefined {
    this.#header.writeUInt32LE(NAME_BYTES, 8);
    this.#header.writeBigUInt64LE(BigInt(CONTROL_BYTES), 40);
    for (;;) {
      const length = trySyscall(SYS.recvmsg, socket, this.#header, MSG_DONTWAIT);
      if (length >= 0) return this.#received(length);
      if (length === -EAGAIN) return undefined;
      if (length !== -EINTR) return -length;
    }
  }

  #received(length: number): ReceivedDatagram | number {
    const flags = this.#header.readInt32LE(48);
    const { address, port } = decodeInetAddress(this.#name);
    let destinationAddress: Buffer | undefined;
    let segmentBytes = 0;
    for (const { level, type, data } of this.#controlMessages()) {
      // struct in_pktinfo: i32 interface, local address, header destination. struct in6_pktinfo: address, interface.
      if (level === SOL_IP && type === IP_PKTINFO) destinationAddress = Buffer.from(data.subarray(8, 12));
      else if (level === SOL_IPV6 && type === IPV6_PKTINFO) destinationAddress = Buffer.from(data.subarray(0, 16));
      else if (level === IPPROTO_UDP && type === UDP_GRO) segmentBytes = data.readInt32LE(0);
    }
    // Neither can be with buffers of this size; nothing that was cut is passed on as whole.
    if ((flags & MSG_TRUNC) !== 0) return EMSGSIZE;
    if ((flags & MSG_CTRUNC) !== 0 && destinationAddress === undefined) return EMSGSIZE;
    return {
      sourceAddress: address,
      sourcePort: port,
      destinationAddress,
      payload: this.#payload.subarray(0, length),
      segmentBytes,
    };
  }

  *#controlMessages(): Generator<{ readonly level: number; readonly type: number; readonly data: Buffer }> {
    const end = Number(this.#header.readBigUInt64LE(40));
    for (let at = 0; at + CMSGHDR_BYTES <= end; ) {
      const bytes = Number(this.#control.readBigUInt64LE(at));
      if (bytes < CMSGHDR_BYTES || at + bytes > end) return;
      yield {
        level: this.#control.readInt32LE(at + 8),
        type: this.#control.readInt32LE(at + 12),
        data: this.#control.subarray(at + CMSGHDR_BYTES, at + bytes),
      };
      at += (bytes + 7) & ~7;
    }
  }
}
