import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { ClientOptions } from './options.ts';
import { connect, Run } from './run.ts';

/**
 * A short run against a server of our own: a program's first requests take milliseconds while its code is compiled, and
 * that would be counted against the server. Without a loopback interface there is no rehearsal.
 */
export async function rehearse(options: ClientOptions): Promise<void> {
  const server = createSocket('udp4');
  try {
    const listening = once(server, 'listening');
    server.bind(0, '127.0.0.1');
    await listening;
  } catch {
    server.close();
    return;
  }
  let count = 0;
  server.on('message', (request, from) => {
    const number = BigInt(request.toString('latin1'));
    server.send(`${number * number} ${++count}`, from.port, from.address);
  });
  const host = { host: '127.0.0.1', port: server.address().port };
  const socket = await connect(host);
  try {
    await new Run({ ...options, ...host, rate: 4000, durationMs: 250 }, socket).complete({ graceMs: 0, patienceMs: 0 });
  } finally {
    socket.close();
    server.close();
  }
}
