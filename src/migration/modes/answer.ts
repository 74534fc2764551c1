/** What a destination says while it is being sent to: READY at the end, or why it gives up. */
import { ComicranError } from '../../base/errors.ts';
import type { ReadyMessage } from '../messages.ts';
import type { SourceBefore, SourceLine } from '../roles.ts';
import { sleep } from '../waiting.ts';

/** How long a broken connection is listened to for the reason, which the destination has sent before it closed. */
const REASON_MS = 100;

/** Listens from its making on. */
export class Answer {
  readonly ready: Promise<ReadyMessage>;
  #failure: { readonly error: unknown } | undefined;

  constructor(line: SourceLine, timeoutMs: number) {
    this.ready = line.expect('READY', timeoutMs);
    this.ready.catch((error: unknown) => {
      this.#failure = { error };
    });
  }

  /** @throws why the destination, or the connection to it, has failed */
  orFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** A broken connection is the consequence of what the destination said just before, if it said anything. */
  async reasonBehind(error: unknown, { ports }: SourceBefore): Promise<unknown> {
    if (!(error instanceof ComicranError) || error.code !== 'peer.died') return error;
    await Promise.race([this.ready.catch(() => {}), sleep(ports.clock, REASON_MS)]);
    return this.#failure?.error ?? error;
  }
}
