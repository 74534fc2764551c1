/** Receive queues that hold what arrives while a process stands still. */
import { forceReceiveLimit, receiveMemory } from '../../linux/socket-memory.ts';
import { closeSockets, openUdpSockets } from './process-sockets.ts';

/**
 * Room for 25,000 small datagrams: 2.5 s at 10,000 a second. The kernel takes the memory when packets wait, not before.
 * (A datagram of up to about 200 bytes takes 768 bytes of it, one of 1,400 bytes 2,304.)
 */
export const RECEIVE_LIMIT_BYTES = 32 << 20;

export type RaisedBuffers = { readonly sockets: number; readonly raised: number };

/**
 * Raises the limit of every UDP receive queue of a process that is lower. To be done when a sandbox has started, so that
 * the time before a migration is like the time in it, and again before a migration, for sockets that are younger.
 * @throws KernelError ESRCH, ENOENT: no such process
 */
export function raiseReceiveBuffers(pid: number, limitBytes: number = RECEIVE_LIMIT_BYTES): RaisedBuffers {
  const sockets = openUdpSockets(pid);
  try {
    const low = sockets.filter(({ descriptor }) => receiveMemory(descriptor).limitBytes < limitBytes);
    for (const { descriptor } of low) forceReceiveLimit(descriptor, limitBytes);
    return { sockets: sockets.length, raised: low.length };
  } finally {
    closeSockets(sockets);
  }
}
