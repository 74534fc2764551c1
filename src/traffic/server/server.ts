/**
 * A UDP server that answers a number with its square.
 *
 * What it sends depends on what it was sent and on nothing else: it looks at no clock and draws no random numbers, so a
 * copy that is given the same datagrams in the same order answers the same. It has no dependency, in this project or
 * outside, so that a sandbox for it needs the files of this folder and Node.
 */
import { Buffer } from 'node:buffer';
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { answer, refusal } from './answer.ts';
import { Ballast } from './memory.ts';
import type { ServerOptions } from './options.ts';

export type RunningServer = {
  readonly address: string;
  readonly port: number;
  /** Requests whose square was sent. */
  served(): number;
  /** Stops listening; what is in the socket's queue is not answered. */
  close(): Promise<void>;
};

/** Senders are numeric addresses: asking the resolver would put each answer off to the next turn of the event loop. */
const numericOnly: NonNullable<SocketOptions['lookup']> = (host, _options, done) =>
  done(null, host, isIPv6(host) ? 6 : 4);

function bind(socket: Socket, options: ServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(options.port, options.host, () => {
      socket.off('error', reject);
      resolve();
    });
  });
}

/** Holds after success: the memory is filled and the socket takes datagrams. @throws where the port cannot be bound. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const ballast = options.memoryBytes > 0 ? new Ballast(options.memoryBytes) : undefined;
  const socket = createSocket({
    type: isIPv6(options.host) ? 'udp6' : 'udp4',
    recvBufferSize: options.receiveBufferBytes,
    lookup: numericOnly,
  });
  let served = 0;
  socket.on('message', (request, from) => {
    const damagedPage = ballast?.touch(options.touchPages);
    const reply =
      damagedPage === undefined
        ? answer(request.toString('latin1'), options.count ? served + 1 : undefined)
        : refusal(`memory page ${damagedPage} is damaged`);
    if (reply.served) served++;
    socket.send(Buffer.from(reply.text, 'latin1'), from.port, from.address);
  });
  await bind(socket, options);
  // An answer that the network refuses is a lost datagram, which its sender has to expect of UDP.
  socket.on('error', () => {});
  const { address, port } = socket.address();
  return {
    address,
    port,
    served: () => served,
    close: () => new Promise((resolve) => socket.close(resolve)),
  };
}
