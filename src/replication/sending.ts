import { ComicranError } from '../base/errors.ts';
import { PollSet } from '../linux/poll.ts';

/** How a thread waits for room that nothing announces, and how often. */
const RETRY_MS = 0.2;
const MAX_RETRIES = 5_000;

/** Sends until there is room, blocking the thread: what is sent stays in order. @throws ComicranError replication.overrun */
export function sendInOrder(what: string, trySend: () => boolean): void {
  if (trySend()) return;
  const nothing = new PollSet(1);
  for (let retries = 0; retries < MAX_RETRIES; retries++) {
    nothing.wait(RETRY_MS);
    if (trySend()) return;
  }
  throw new ComicranError('replication.overrun', `${what}: there is no room for a packet`);
}
