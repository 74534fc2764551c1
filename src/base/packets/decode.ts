/** IP packets back to UDP datagrams. What cannot be one is `undefined`, not an error: a network carries anything. */
import { addToSum, foldSum } from './checksum.ts';
import type { Datagram } from './datagram.ts';
import {
  FRAGMENT_HEADER_BYTES,
  IPV4_HEADER_BYTES,
  IPV4_MORE_FRAGMENTS,
  IPV6_HEADER_BYTES,
  NEXT_HEADER_FRAGMENT,
  PROTOCOL_UDP,
  sumUdp,
  UDP_HEADER_BYTES,
} from './encode.ts';

/** A packet, or a fragment of one, without its IP headers. */
export type IpPart = {
  readonly sourceAddress: Buffer;
  readonly destinationAddress: Buffer;
  /** 17: UDP. */
  readonly protocol: number;
  /** Of fragments of one packet the same; 0 where an IPv6 packet is whole. */
  readonly identification: number;
  /** Bytes before this part. */
  readonly offset: number;
  readonly moreFollows: boolean;
  readonly bytes: Buffer;
};

/** @returns views of the packet; undefined: damaged, or with IPv6 extension headers other than a fragment header. */
export function decodePacket(packet: Buffer): IpPart | undefined {
  switch (packet.length > 0 ? packet.readUInt8(0) >> 4 : 0) {
    case 4:
      return decodeIpv4(packet);
    case 6:
      return decodeIpv6(packet);
    default:
      return undefined;
  }
}

function decodeIpv4(packet: Buffer): IpPart | undefined {
  if (packet.length < IPV4_HEADER_BYTES) return undefined;
  const headerBytes = (packet.readUInt8(0) & 15) * 4;
  const totalBytes = packet.readUInt16BE(2);
  if (headerBytes < IPV4_HEADER_BYTES || totalBytes < headerBytes || totalBytes > packet.length) return undefined;
  if (foldSum(addToSum(0, packet.subarray(0, headerBytes))) !== 0) return undefined;
  const fragment = packet.readUInt16BE(6);
  return {
    sourceAddress: packet.subarray(12, 16),
    destinationAddress: packet.subarray(16, 20),
    protocol: packet.readUInt8(9),
    identification: packet.readUInt16BE(4),
    offset: (fragment & 0x1fff) * 8,
    moreFollows: (fragment & IPV4_MORE_FRAGMENTS) !== 0,
    // A short frame is padded behind the packet.
    bytes: packet.subarray(headerBytes, totalBytes),
  };
}

function decodeIpv6(packet: Buffer): IpPart | undefined {
  if (packet.length < IPV6_HEADER_BYTES) return undefined;
  const end = IPV6_HEADER_BYTES + packet.readUInt16BE(4);
  if (end > packet.length) return undefined;
  const addresses = { sourceAddress: packet.subarray(8, 24), destinationAddress: packet.subarray(24, 40) };
  const next = packet.readUInt8(6);
  if (next !== NEXT_HEADER_FRAGMENT) {
    const bytes = packet.subarray(IPV6_HEADER_BYTES, end);
    return { ...addresses, protocol: next, identification: 0, offset: 0, moreFollows: false, bytes };
  }
  const start = IPV6_HEADER_BYTES + FRAGMENT_HEADER_BYTES;
  if (start > end) return undefined;
  const fragment = packet.readUInt16BE(IPV6_HEADER_BYTES + 2);
  return {
    ...addresses,
    protocol: packet.readUInt8(IPV6_HEADER_BYTES),
    identification: packet.readUInt32BE(IPV6_HEADER_BYTES + 4),
    offset: fragment & ~7,
    moreFollows: (fragment & 1) !== 0,
    bytes: packet.subarray(start, end),
  };
}

/**
 * The datagram of a whole packet, or of all fragments of one in order. @returns its payload in memory of its own;
 * undefined: not UDP, a fragment missing, or a wrong length or checksum.
 */
export function decodeDatagram(parts: readonly IpPart[]): Datagram | undefined {
  const first = parts[0];
  const last = parts.at(-1);
  if (first === undefined || last === undefined || first.protocol !== PROTOCOL_UDP || last.moreFollows)
    return undefined;
  let length = 0;
  for (const part of parts) {
    if (part.offset !== length || (part !== last && !part.moreFollows)) return undefined;
    length += part.bytes.length;
  }
  const segment = Buffer.concat(parts.map((part) => part.bytes));
  if (segment.length < UDP_HEADER_BYTES || segment.readUInt16BE(4) !== segment.length) return undefined;
  const datagram: Datagram = {
    sourceAddress: first.sourceAddress,
    sourcePort: segment.readUInt16BE(0),
    destinationAddress: first.destinationAddress,
    destinationPort: segment.readUInt16BE(2),
    payload: segment.subarray(UDP_HEADER_BYTES),
  };
  const unsummed = segment.readUInt16BE(6) === 0 && first.sourceAddress.length === 4;
  return unsummed || foldSum(sumUdp(datagram, segment)) === 0 ? datagram : undefined;
}
