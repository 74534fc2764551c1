/**
 * A UDP server that answers a number with its square.
 *
 * What it sends depends on what it was sent and on nothing else, unless it is told otherwise (--answer, --heartbeat): it
 * looks at no clock, draws no random numbers and answers in the order in which it was asked, so a copy that is given the
 * same datagrams in the same order answers the same. It has no dependency, in this project or
 * outside, so that a sandbox for it needs the files of this folder and Node.
 */
import { Buffer } from 'node:buffer';
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { answer, refusal } from './answer.ts';
import { startHeartbeat } from './heartbeat.ts';
import { Ballast } from './memory.ts';
import type { ServerOptions } from './options.ts';
import { variationOf } from './variation.ts';

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

const TOUCH_PERIOD_MS = 10;

/** Writes at a steady rate; what a stop of the process has left out is left out. @returns what ends it. */
function startTouching(pagesPerSecond: number, touch: (pages: number) => void): () => void {
  let owed = 0;
  const timer = setInterval(() => {
    owed += (pagesPerSecond * TOUCH_PERIOD_MS) / 1000;
    const pages = Math.floor(owed);
    owed -= pages;
    if (pages > 0) touch(pages);
  }, TOUCH_PERIOD_MS);
  return () => clearInterval(timer);
}

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
  let damagedPage: number | undefined;
  const variation = variationOf(options.variation);
  const touch = (pages: number): void => {
    damagedPage = ballast?.touch(pages) ?? damagedPage;
  };
  socket.on('message', (request, from) => {
    touch(options.touchPages);
    const reply =
      damagedPage === undefined
        ? answer(request.toString('latin1'), options.count ? served + 1 : undefined, variation())
        : refusal(`memory page ${damagedPage} is damaged`);
    if (reply.served) served++;
    socket.send(Buffer.from(reply.text, 'latin1'), from.port, from.address);
  });
  await bind(socket, options);
  // An answer that the network refuses is a lost datagram, which its sender has to expect of UDP.
  socket.on('error', () => {});
  const ends: (() => unknown)[] = [() => new Promise<void>((resolve) => socket.close(resolve))];
  if (options.touchPagesPerSecond > 0) ends.push(startTouching(options.touchPagesPerSecond, touch));
  if (options.heartbeat !== undefined) ends.push(startHeartbeat(options.heartbeat, numericOnly));
  const { address, port } = socket.address();
  return {
    address,
    port,
    served: () => served,
    close: async () => {
      for (const end of ends) await end();
    },
  };
}
