import { createSocket, type Socket } from 'node:dgram';
import { inNetns } from '../../src/linux/netns.ts';

/**
 * A UDP socket in a network namespace. Node makes the socket when it is bound, and binds after it has looked up the
 * address: a lookup that answers at once keeps all of it inside.
 */
export function udpSocketIn(netns: number, address: string, port = 0): Socket {
  const socket = createSocket({
    type: 'udp4',
    lookup: (host, _options, callback) => callback(null, host, 4),
  });
  inNetns(netns, () => socket.bind(port, address));
  socket.address(); // throws where it is not bound yet
  return socket;
}
