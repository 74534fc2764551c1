/**
 * IPv4 packets to whole UDP datagrams, as the kernel of the receiver sees them: fragments are put together, and the
 * datagram is there when its last missing fragment is (net/ipv4/ip_fragment.c). Pure.
 *
 * Addresses are numbers of 32 bits here, which compare and hash faster than bytes.
 */
import { addToSum, foldSum } from '../base/packets/checksum.ts';

const PROTOCOL_ICMP = 1;
export const PROTOCOL_UDP = 17;
const IPV4_HEADER_BYTES = 20;
const UDP_HEADER_BYTES = 8;
const UDP_CHECKSUM = 6;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET = 0x1fff;
/** ICMP messages that tell a socket of an error (RFC 792): unreachable, source quench, time exceeded, bad parameter. */
const ICMP_ERRORS = new Set([3, 4, 11, 12]);
const ICMP_HEADER_BYTES = 8;

/** Groups of fragments that wait, and their bytes, at most; the kernel's own limit is 4 MiB (ipfrag_high_thresh). */
const MAX_GROUPS = 1024;
const MAX_GROUP_BYTES = 8 << 20;
/** The kernel forgets fragments after 30 s (ipfrag_time); nanoseconds. */
const MAX_AGE_NANOS = 35e9;

export type WholeDatagram = {
  readonly sourceAddress: number;
  readonly sourcePort: number;
  readonly destinationAddress: number;
  readonly destinationPort: number;
  readonly payload: Buffer;
  /** The packets that it came in, in the order in which they came. */
  readonly packets: readonly Buffer[];
};

/** Whether a packet is long enough for what its IPv4 header says. */
export function isIpv4(packet: Buffer): boolean {
  if (packet.length < IPV4_HEADER_BYTES || packet[0]! >> 4 !== 4) return false;
  const header = headerBytes(packet);
  const total = packet.readUInt16BE(2);
  return header >= IPV4_HEADER_BYTES && total >= header && total <= packet.length;
}

const headerBytes = (packet: Buffer): number => (packet[0]! & 15) * 4;

/** The addresses and ports of an ICMP error's own UDP packet, which is whose socket hears of it. */
export function isIcmpErrorOf(packet: Buffer, address: number): boolean {
  if (!isIpv4(packet) || packet[9] !== PROTOCOL_ICMP) return false;
  const icmp = packet.subarray(headerBytes(packet));
  const inner = icmp.subarray(ICMP_HEADER_BYTES);
  if (inner.length < IPV4_HEADER_BYTES || !ICMP_ERRORS.has(icmp[0]!)) return false;
  return inner[9] === PROTOCOL_UDP && inner.readUInt32BE(12) === address;
}

/**
 * Fills in the checksum of a whole UDP packet that its sender had left to a device (CHECKSUM_PARTIAL), in place. Other
 * packets stay as they are.
 */
export function completeChecksum(packet: Buffer): void {
  if (!isIpv4(packet) || packet[9] !== PROTOCOL_UDP) return;
  if ((packet.readUInt16BE(6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) !== 0) return;
  const segment = packet.subarray(headerBytes(packet), packet.readUInt16BE(2));
  if (segment.length < UDP_HEADER_BYTES) return;
  segment.writeUInt16BE(0, UDP_CHECKSUM);
  const addresses = addToSum(0, packet.subarray(12, 20));
  segment.writeUInt16BE(foldSum(addToSum(addresses + PROTOCOL_UDP + segment.length, segment)) || 0xffff, UDP_CHECKSUM);
}

function whole(packet: Buffer, segment: Buffer, packets: readonly Buffer[]): WholeDatagram | undefined {
  if (segment.length < UDP_HEADER_BYTES) return undefined;
  const length = segment.readUInt16BE(4);
  if (length < UDP_HEADER_BYTES || length > segment.length) return undefined;
  return {
    sourceAddress: packet.readUInt32BE(12),
    sourcePort: segment.readUInt16BE(0),
    destinationAddress: packet.readUInt32BE(16),
    destinationPort: segment.readUInt16BE(2),
    // The kernel cuts what is behind the length that UDP tells.
    payload: segment.subarray(UDP_HEADER_BYTES, length),
    packets,
  };
}

type Piece = { readonly offset: number; readonly bytes: Buffer; readonly last: boolean };
type Group = {
  readonly since: number;
  pieces: Piece[];
  packets: Buffer[];
  first: Buffer | undefined;
  heldBytes: number;
};

/** One direction of one device. */
export class DatagramAssembler {
  readonly #isOfOneSender: boolean;
  readonly #groups = new Map<string, Group>();
  #heldBytes = 0;
  #forgotten = 0;

  /**
   * @param isOfOneSender everything comes from one host, in the moment in which it is sent: the identifier alone tells its
   * datagrams apart, and the addresses are those of the first fragment. What a packet socket has seen of an outgoing packet
   * shares its bytes with the packet. Where the same kernel forwards it, puts it together for connection tracking, changes
   * its addresses and fragments it again, it writes the new IP header over the old one of every fragment but the first
   * (ip_do_fragment(), which looks only at skb_shared() there).
   */
  constructor({ isOfOneSender = false }: { readonly isOfOneSender?: boolean } = {}) {
    this.#isOfOneSender = isOfOneSender;
  }

  /** Datagrams that may have lost a fragment here for want of room, which the kernel may have had. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /**
   * @param packet stays with the assembler, or with the datagram: the caller does not write to it again.
   * @param stamp in nanoseconds, of this packet.
   * @returns the datagram that this packet completes; undefined: none.
   */
  add(packet: Buffer, stamp: number): WholeDatagram | undefined {
    if (!isIpv4(packet) || packet[9] !== PROTOCOL_UDP) return undefined;
    const fragment = packet.readUInt16BE(6);
    // Behind the packet's own length there may be padding.
    const bytes = packet.subarray(headerBytes(packet), packet.readUInt16BE(2));
    if ((fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) === 0) return whole(packet, bytes, [packet]);
    return this.#addFragment(packet, fragment, bytes, stamp);
  }

  #addFragment(packet: Buffer, fragment: number, bytes: Buffer, stamp: number): WholeDatagram | undefined {
    const key = packet.toString('latin1', 4, 6) + (this.#isOfOneSender ? '' : packet.toString('latin1', 12, 20));
    let group = this.#groups.get(key);
    if (group !== undefined && stamp - group.since > MAX_AGE_NANOS) {
      this.#drop(key, group);
      group = undefined;
    }
    if (group === undefined) {
      this.#makeRoom(stamp);
      group = { since: stamp, pieces: [], packets: [], first: undefined, heldBytes: 0 };
      this.#groups.set(key, group);
    }
    const piece: Piece = {
      offset: (fragment & FRAGMENT_OFFSET) * 8,
      bytes,
      last: (fragment & MORE_FRAGMENTS) === 0,
    };
    const end = piece.offset + bytes.length;
    // One that is there wholly already is passed over; any other overlap ends the datagram (RFC 5722, for IPv4 too).
    const overlapping = group.pieces.filter((one) => one.offset < end && one.offset + one.bytes.length > piece.offset);
    if (overlapping.some((one) => one.offset <= piece.offset && one.offset + one.bytes.length >= end)) return undefined;
    if (overlapping.length > 0) {
      this.#drop(key, group);
      return undefined;
    }
    group.pieces.push(piece);
    if (piece.offset === 0) group.first = packet;
    group.packets.push(packet);
    group.heldBytes += packet.length;
    this.#heldBytes += packet.length;
    const segment = joined(group.pieces);
    if (segment === undefined) return undefined;
    this.#drop(key, group);
    return whole(group.first ?? packet, segment, group.packets);
  }

  /** Datagrams of which something is missing. */
  get incomplete(): number {
    return this.#groups.size;
  }

  /** The packets of datagrams that are not complete, which the assembler forgets. */
  takeIncomplete(): Buffer[] {
    const packets = Array.from(this.#groups.values(), (group) => group.packets).flat();
    this.#groups.clear();
    this.#heldBytes = 0;
    return packets;
  }

  #drop(key: string, group: Group): void {
    this.#groups.delete(key);
    this.#heldBytes -= group.heldBytes;
  }

  /** The oldest group goes first: a map keeps the order of insertion. */
  #makeRoom(stamp: number): void {
    for (const [key, group] of this.#groups) {
      const tooOld = stamp - group.since > MAX_AGE_NANOS;
      if (!tooOld && this.#groups.size < MAX_GROUPS && this.#heldBytes < MAX_GROUP_BYTES) return;
      if (!tooOld) this.#forgotten++;
      this.#drop(key, group);
    }
  }
}

/** What the pieces are together; undefined: something is missing. */
function joined(pieces: readonly Piece[]): Buffer | undefined {
  if (!pieces.some(({ last }) => last) || !pieces.some(({ offset }) => offset === 0)) return undefined;
  const sorted = pieces.toSorted((a, b) => a.offset - b.offset);
  let length = 0;
  for (const { offset, bytes } of sorted) {
    if (offset !== length) return undefined;
    length += bytes.length;
  }
  return sorted.at(-1)!.last ? Buffer.concat(sorted.map(({ bytes }) => bytes)) : undefined;
}
