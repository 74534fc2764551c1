/** The time at which the kernel received a packet: SO_TIMESTAMPNS, socket(7). */

/**
 * 48 days of seconds: a stamp then is a whole number that a double holds exactly, and no two packets that are compared
 * with each other are that far apart.
 */
const SECONDS = 2 ** 22;

/** Nanoseconds, modulo 2^22 seconds. @param at where a struct timespec stands */
export function stampAt(bytes: Buffer, at: number): number {
  const seconds = bytes.readUInt32LE(at) + (bytes.readUInt32LE(at + 4) % SECONDS) * 2 ** 32;
  return (seconds % SECONDS) * 1e9 + bytes.readUInt32LE(at + 8);
}
