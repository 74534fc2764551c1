import { assert } from '../assert.ts';

/** A UDP datagram with its addresses, as a socket sends or gets it. */
export type Datagram = {
  /** 4 or 16 bytes, network order, both the same number. */
  readonly sourceAddress: Uint8Array;
  readonly sourcePort: number;
  readonly destinationAddress: Uint8Array;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
};

/** 65,535 less the IPv4 header and the UDP header. */
export const MAX_PAYLOAD_IPV4 = 65_507;
/** 65,535 less the UDP header; jumbograms are not spoken of here. */
export const MAX_PAYLOAD_IPV6 = 65_527;

export function isIpv6(datagram: Datagram): boolean {
  const bytes = datagram.sourceAddress.length;
  assert(bytes === datagram.destinationAddress.length, 'the addresses of a datagram are of two families');
  assert(bytes === 4 || bytes === 16, `an address of ${bytes} bytes`);
  return bytes === 16;
}

/** Whether IP can carry it at all. */
export function fitsIp(datagram: Datagram): boolean {
  return datagram.payload.length <= (isIpv6(datagram) ? MAX_PAYLOAD_IPV6 : MAX_PAYLOAD_IPV4);
}
