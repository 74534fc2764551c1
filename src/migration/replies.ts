/** What a destination says while it is being sent to: READY, how far its copy has got, or why it gives up. */
import { ComicranError } from '../base/errors.ts';
import type { ReadyMessage, ReportMessage } from './messages.ts';
import type { Clock } from './ports.ts';
import type { SourceLine } from './roles.ts';
import { sleep } from './waiting.ts';

/** How long a broken connection is listened to for the reason, which the destination has sent before it closed. */
const REASON_MS = 100;

/** Listens from its making until {@link stop}; whoever receives on the line afterwards gets what comes then. */
export class Replies {
  readonly #line: SourceLine;
  #stopped = false;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();
  ready: ReadyMessage | undefined;
  /** The last one. */
  report: ReportMessage | undefined;
  /** How many have come. */
  reports = 0;

  constructor(line: SourceLine, timeoutMs: number) {
    this.#line = line;
    void this.#listen(timeoutMs);
  }

  /** Resolves when something has come, or it has failed. */
  next(): Promise<void> {
    return this.#changed.promise;
  }

  /** @throws why the destination, or the connection to it, has failed */
  orFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** What comes from now on is for whoever receives on the line next, also where this one waits for it already. */
  stop(): void {
    this.#stopped = true;
  }

  /** A broken connection is the consequence of what the destination said just before, if it said anything. */
  async reasonBehind(error: unknown, clock: Clock): Promise<unknown> {
    if (!(error instanceof ComicranError) || error.code !== 'peer.died') return error;
    if (this.#failure !== undefined) return this.#failure.error;
    const reason = this.#line.receive(REASON_MS).then(
      (message) => this.#line.unexpected(message, 'nothing'),
      () => undefined,
    );
    const found = await Promise.race([reason, sleep(clock, REASON_MS)]);
    return found ?? error;
  }

  async #listen(timeoutMs: number): Promise<void> {
    try {
      while (!this.#stopped) {
        const awaited = this.ready === undefined ? 'READY' : 'REPORT';
        const message = await this.#line.receiveUnless(() => this.#stopped, timeoutMs, awaited);
        if (message === undefined) return;
        if (message.type === 'READY' && this.ready === undefined) this.ready = message;
        else if (message.type === 'REPORT' && this.ready !== undefined) {
          this.report = message;
          this.reports++;
        } else throw this.#line.unexpected(message, this.ready === undefined ? 'READY' : 'REPORT');
        this.#tell();
      }
    } catch (error) {
      this.#failure = { error };
      this.#tell();
    }
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}
