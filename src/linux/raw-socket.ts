/** Raw sockets (raw(7)) that send whole IP packets, header included, from inside a network namespace. */
import { EAGAIN, EINTR, ENOBUFS, KernelError } from './errno.ts';
import { syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { AF_INET, AF_INET6, encodeInetAddress, SOCK_RAW } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

/** With this protocol the header is the caller's, for IPv4 and IPv6, and nothing is ever received. */
const IPPROTO_RAW = 255;

export class PacketSender {
  readonly #socket: number;
  #closed = false;

  /** In the network namespace of the calling thread; usable from anywhere afterwards. The caller closes it. */
  constructor(family: 4 | 6) {
    const domain = family === 4 ? AF_INET : AF_INET6;
    this.#socket = syscall('socket(SOCK_RAW)', SYS.socket, domain, SOCK_RAW | O.CLOEXEC | O.NONBLOCK, IPPROTO_RAW);
  }

  /**
   * Routed by `destination`, which is the one in the packet. @returns false where there is no room now.
   * @throws KernelError ENETUNREACH, EMSGSIZE and others
   */
  trySend(packet: Uint8Array, destination: Buffer): boolean {
    const address = encodeInetAddress({ address: destination, port: 0, flowInfo: 0, scopeId: 0 });
    for (;;) {
      const result = trySyscall(SYS.sendto, this.#socket, packet, packet.length, 0, address, address.length);
      if (result >= 0) return true;
      if (result === -EAGAIN || result === -ENOBUFS) return false;
      if (result !== -EINTR) throw new KernelError('send a raw packet', -result);
    }
  }

  /** May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.#socket);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
