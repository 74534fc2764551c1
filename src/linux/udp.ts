/** UDP sockets of this process. */
import { syscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import {
  AF_INET,
  bindSocket,
  connectSocket,
  encodeInetAddress,
  IPPROTO_UDP,
  localAddress,
  SOCK_DGRAM,
} from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

/**
 * A socket that is connected to itself, on the loopback of the calling thread's network namespace: what is written to it
 * can be read from it. The caller closes it. @throws KernelError ENETUNREACH and the like where loopback is down
 */
export function openUdpToSelf(): number {
  const socket = syscall('socket(UDP)', SYS.socket, AF_INET, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, IPPROTO_UDP);
  try {
    const loopback = Buffer.from([127, 0, 0, 1]);
    bindSocket(socket, encodeInetAddress({ address: loopback, port: 0, flowInfo: 0, scopeId: 0 }));
    connectSocket(socket, localAddress(socket));
    return socket;
  } catch (thrown) {
    closeDescriptor(socket);
    throw thrown;
  }
}
