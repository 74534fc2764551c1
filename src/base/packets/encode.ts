/** UDP datagrams as IP packets: RFC 768 (UDP), RFC 791 (IPv4), RFC 8200 (IPv6). */
import { assert } from '../assert.ts';
import { addToSum, foldSum } from './checksum.ts';
import { type Datagram, fitsIp, isIpv6 } from './datagram.ts';

export const UDP_HEADER_BYTES = 8;
export const IPV4_HEADER_BYTES = 20;
export const IPV6_HEADER_BYTES = 40;
export const FRAGMENT_HEADER_BYTES = 8;
export const PROTOCOL_UDP = 17;
export const NEXT_HEADER_FRAGMENT = 44;
export const IPV4_MORE_FRAGMENTS = 0x2000;
/** What a Linux host starts with (net.ipv4.ip_default_ttl). */
const TIME_TO_LIVE = 64;
/** The smallest that IPv4 (RFC 791) lets a link have. */
const MIN_MTU = 68;

/**
 * The packets that carry a datagram over a link: one, or its fragments in order. All checksums are right.
 *
 * @param mtu of the link, in bytes, link-layer headers not counted.
 * @param identification of the fragments; datagrams between the same two addresses need different ones for as long as
 * fragments of them may wait for each other. 16 bits are used for IPv4, 32 for IPv6.
 */
export function encodePackets(datagram: Datagram, mtu: number, identification: number): Buffer[] {
  assert(mtu >= MIN_MTU, `an MTU of ${mtu} bytes`);
  assert(fitsIp(datagram), `a datagram of ${datagram.payload.length} bytes`);
  const segment = encodeUdp(datagram);
  return isIpv6(datagram)
    ? encodeIpv6(datagram, segment, mtu, identification)
    : encodeIpv4(datagram, segment, mtu, identification);
}

/** The sum over the pseudo header and the segment, whose checksum field counts as it is. */
export function sumUdp(datagram: Datagram, segment: Uint8Array): number {
  const addresses = addToSum(addToSum(0, datagram.sourceAddress), datagram.destinationAddress);
  return addToSum(addresses + PROTOCOL_UDP + segment.length, segment);
}

function encodeUdp(datagram: Datagram): Buffer {
  const segment = Buffer.allocUnsafe(UDP_HEADER_BYTES + datagram.payload.length);
  segment.writeUInt16BE(datagram.sourcePort, 0);
  segment.writeUInt16BE(datagram.destinationPort, 2);
  segment.writeUInt16BE(segment.length, 4);
  segment.writeUInt16BE(0, 6);
  segment.set(datagram.payload, UDP_HEADER_BYTES);
  // A checksum of 0 would say that there is none.
  segment.writeUInt16BE(foldSum(sumUdp(datagram, segment)) || 0xffff, 6);
  return segment;
}

/** Cuts into pieces whose lengths are multiples of 8, the last one's excepted, as fragment offsets count. */
function pieces(segment: Buffer, room: number): { readonly offset: number; readonly bytes: Buffer; last: boolean }[] {
  if (segment.length <= room) return [{ offset: 0, bytes: segment, last: true }];
  const step = room & ~7;
  const list: { readonly offset: number; readonly bytes: Buffer; last: boolean }[] = [];
  for (let offset = 0; offset < segment.length; offset += step)
    list.push({ offset, bytes: segment.subarray(offset, offset + step), last: offset + step >= segment.length });
  return list;
}

function encodeIpv4(datagram: Datagram, segment: Buffer, mtu: number, identification: number): Buffer[] {
  return pieces(segment, mtu - IPV4_HEADER_BYTES).map(({ offset, bytes, last }) => {
    const packet = Buffer.allocUnsafe(IPV4_HEADER_BYTES + bytes.length);
    packet.writeUInt8(0x45, 0);
    packet.writeUInt8(0, 1);
    packet.writeUInt16BE(packet.length, 2);
    packet.writeUInt16BE(identification & 0xffff, 4);
    packet.writeUInt16BE((last ? 0 : IPV4_MORE_FRAGMENTS) | (offset / 8), 6);
    packet.writeUInt8(TIME_TO_LIVE, 8);
    packet.writeUInt8(PROTOCOL_UDP, 9);
    packet.writeUInt16BE(0, 10);
    packet.set(datagram.sourceAddress, 12);
    packet.set(datagram.destinationAddress, 16);
    packet.writeUInt16BE(foldSum(addToSum(0, packet.subarray(0, IPV4_HEADER_BYTES))), 10);
    packet.set(bytes, IPV4_HEADER_BYTES);
    return packet;
  });
}

function encodeIpv6(datagram: Datagram, segment: Buffer, mtu: number, identification: number): Buffer[] {
  const whole = segment.length <= mtu - IPV6_HEADER_BYTES;
  const extension = whole ? 0 : FRAGMENT_HEADER_BYTES;
  return pieces(segment, mtu - IPV6_HEADER_BYTES - extension).map(({ offset, bytes, last }) => {
    const packet = Buffer.allocUnsafe(IPV6_HEADER_BYTES + extension + bytes.length);
    packet.writeUInt32BE(0x6000_0000, 0);
    packet.writeUInt16BE(extension + bytes.length, 4);
    packet.writeUInt8(whole ? PROTOCOL_UDP : NEXT_HEADER_FRAGMENT, 6);
    packet.writeUInt8(TIME_TO_LIVE, 7);
    packet.set(datagram.sourceAddress, 8);
    packet.set(datagram.destinationAddress, 24);
    if (!whole) {
      packet.writeUInt8(PROTOCOL_UDP, IPV6_HEADER_BYTES);
      packet.writeUInt8(0, IPV6_HEADER_BYTES + 1);
      // The offset counts in units of 8 bytes and stands in the upper 13 bits, so the byte offset is the field.
      packet.writeUInt16BE(offset | (last ? 0 : 1), IPV6_HEADER_BYTES + 2);
      packet.writeUInt32BE(identification >>> 0, IPV6_HEADER_BYTES + 4);
    }
    packet.set(bytes, IPV6_HEADER_BYTES + extension);
    return packet;
  });
}
