/** The time at which the kernel received a packet: SO_TIMESTAMPNS, socket(7). */

import { KernelError } from './errno.ts';
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { AF_INET, IPPROTO_UDP, SOCK_DGRAM, SOL_SOCKET, trySetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const SO_TIMESTAMPNS = 35;

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

/**
 * Has the kernel stamp what it receives from now on. It does so while any socket asks for it, and begins some milliseconds
 * after the first one has: a packet that comes in between is stamped anew by each who reads it, and not alike.
 *
 * @returns a socket that asks; the caller keeps it open for as long as stamps are wanted, and closes it.
 */
export function beginStamping(): number {
  const socket = syscall('socket(UDP)', SYS.socket, AF_INET, SOCK_DGRAM | O.CLOEXEC, IPPROTO_UDP);
  const on = Buffer.alloc(4);
  on.writeInt32LE(1);
  const result = trySetSocketOption(socket, SOL_SOCKET, SO_TIMESTAMPNS, on);
  if (result === 0) return socket;
  closeDescriptor(socket);
  throw new KernelError('setsockopt SO_TIMESTAMPNS', -result);
}
