import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ComicranError } from '../base/errors.ts';

const POLL_MS = 100;
const PATIENCE_MS = 60_000;

function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(`\0${name}`, () => resolve(server));
  });
}

/**
 * Runs `work` while no other `lab up` or `lab down` does. The lock is an abstract unix socket: it is no file that could be
 * left behind, and it ends with the process that has it.
 *
 * @throws ComicranError lab.state when another one takes too long.
 */
export async function withLabLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      const server = await listen(name);
      try {
        return await work();
      } finally {
        server.close();
      }
    } catch (thrown) {
      if (!(thrown instanceof Error) || !('code' in thrown) || thrown.code !== 'EADDRINUSE') throw thrown;
    }
    if (performance.now() > deadline) {
      throw new ComicranError('lab.state', 'another command has been changing the lab for a minute', {
        hint: "See 'ps' for another 'comicran lab'; wait for it or end it.",
      });
    }
    await sleep(POLL_MS);
  }
}
