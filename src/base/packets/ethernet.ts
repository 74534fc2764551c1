/** Ethernet II frames. */

export const ETHERNET_HEADER_BYTES = 14;
export const MAC_BYTES = 6;
export const ETHER_TYPE = {
  IPV4: 0x0800,
  IPV6: 0x86dd,
  /** Local experiments (IEEE 802): no protocol of any host is behind it. */
  EXPERIMENTAL: 0x88b5,
} as const;

export function encodeFrame(
  destination: Uint8Array,
  source: Uint8Array,
  etherType: number,
  payload: Uint8Array,
): Buffer {
  const frame = Buffer.allocUnsafe(ETHERNET_HEADER_BYTES + payload.length);
  frame.set(destination, 0);
  frame.set(source, MAC_BYTES);
  frame.writeUInt16BE(etherType, 2 * MAC_BYTES);
  frame.set(payload, ETHERNET_HEADER_BYTES);
  return frame;
}

/** The group address that a multicast IP address has on Ethernet (RFC 1112, RFC 2464); undefined: not multicast. */
export function multicastMac(address: Uint8Array): Buffer | undefined {
  if (address.length === 4 && address[0]! >> 4 === 14)
    return Buffer.from([0x01, 0x00, 0x5e, address[1]! & 0x7f, address[2]!, address[3]!]);
  if (address.length === 16 && address[0] === 0xff) return Buffer.from([0x33, 0x33, ...address.subarray(12)]);
  return undefined;
}
