/**
 * The Internet checksum (RFC 1071): the one's complement sum of 16-bit words in network order, an odd last byte padded
 * with zero.
 */

/** Adds bytes to a sum that is not folded yet. A piece that others follow has an even length. */
export function addToSum(sum: number, bytes: Uint8Array): number {
  let total = sum;
  const even = bytes.length & ~1;
  for (let at = 0; at < even; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (even < bytes.length) total += bytes[even]! << 8;
  return total;
}

/** The checksum of what was added: 16 bits. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}
