/** Which of a process's sockets gets a datagram, as net/ipv4/udp.c decides it. Pure. */
import type { WholeDatagram } from './datagrams.ts';

/** Addresses are numbers of 32 bits. */
export type MarkedSocket = {
  readonly localPort: number;
  /** undefined: any. */
  readonly localAddress: number | undefined;
  /** undefined: it is not connected. */
  readonly remote: { readonly address: number; readonly port: number } | undefined;
  /** What it would read next; undefined: nothing waits. */
  readonly head: SocketHead | undefined;
};

export type SocketHead = {
  /** Nanoseconds, as the tap's. */
  readonly stamp: number;
  readonly sourceAddress: number;
  readonly sourcePort: number;
  readonly payload: Buffer;
};

/**
 * A connected socket that matches wins over one that is bound to the address, and that over one bound to any. Of two that
 * match alike the kernel takes one or the other: a process that has such is not replicated (eligibility.ts).
 */
export function receiverOf<T extends MarkedSocket>(datagram: WholeDatagram, sockets: readonly T[]): T | undefined {
  let best: T | undefined;
  let bestScore = 0;
  for (const socket of sockets) {
    const score = scoreOf(datagram, socket);
    if (score > bestScore) {
      best = socket;
      bestScore = score;
    }
  }
  return best;
}

function scoreOf(datagram: WholeDatagram, { localPort, localAddress, remote }: MarkedSocket): number {
  if (localPort !== datagram.destinationPort) return 0;
  if (localAddress !== undefined && localAddress !== datagram.destinationAddress) return 0;
  if (remote === undefined) return localAddress === undefined ? 1 : 2;
  return remote.address === datagram.sourceAddress && remote.port === datagram.sourcePort ? 3 : 0;
}
