/** The life of the server as a process: one line when it listens, until a signal ends it. */
import process from 'node:process';
import type { ServerOptions } from './options.ts';
import { startServer } from './server.ts';

/** Resolves when SIGTERM or SIGINT has ended the server. */
export async function runServer(options: ServerOptions): Promise<void> {
  const server = await startServer(options);
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
  process.stdout.write(`listening on ${server.address}:${server.port}\n`);
  await ended;
  await server.close();
}
