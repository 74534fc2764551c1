import { readdirSync } from 'node:fs';
import { KernelError } from './errno.ts';
import { AF_INET, AF_INET6, decodeInetAddress, localAddress, SOCK_DGRAM, socketType } from './sockets.ts';

/**
 * The descriptor of this process's UDP socket with a local port: Node does not tell the descriptor of a `node:dgram`
 * socket. It belongs to that socket: use it while that is open, and do not close it. @returns undefined: there is none.
 */
export function findOwnUdpSocket(localPort: number): number | undefined {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .find((fd) => {
      try {
        const { domain, type } = socketType(fd);
        if (type !== SOCK_DGRAM || (domain !== AF_INET && domain !== AF_INET6)) return false;
        return decodeInetAddress(localAddress(fd)).port === localPort;
      } catch (thrown) {
        if (thrown instanceof KernelError) return false; // no socket
        throw thrown;
      }
    });
}
