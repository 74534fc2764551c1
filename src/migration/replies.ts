/** What a destination says while it is being sent to: READY, how far its copy has got, that it has taken, or why it gives up. */
import { ComicranError } from '../base/errors.ts';
import type { DestinationMessage, ReadyMessage, ReportMessage } from './messages.ts';
import type { Clock } from './ports.ts';
import type { SourceLine } from './roles.ts';
import { sleep } from './waiting.ts';

/** How long a broken connection is listened to for the reason, which the destination has sent before it closed. */
const REASON_MS = 100;

export type RepliesOptions = {
  /** For each message. */
  readonly timeoutMs: number;
  /** Reports follow READY; otherwise it is the last thing that is listened for. */
  readonly follow: boolean;
};

/** Listens from its making to READY or until {@link stop}; whoever receives on the line afterwards gets what comes then. */
export class Replies {
  readonly #line: SourceLine;
  readonly #options: RepliesOptions;
  readonly #listening: Promise<void>;
  #stopped = false;
  #failure: { readonly error: unknown } | undefined;
  #changed = Promise.withResolvers<void>();
  ready: ReadyMessage | undefined;
  /** The last one. */
  report: ReportMessage | undefined;
  /** How many have come. */
  reports = 0;
  /** It has taken. */
  taken = false;
  /** What it says of the end, where it has come to one. */
  answer: DestinationMessage | undefined;

  /** @param former whom it takes over from */
  constructor(line: SourceLine, options: RepliesOptions, former?: Replies) {
    this.#line = line;
    this.#options = options;
    this.ready = former?.ready;
    this.report = former?.report;
    this.#listening = this.#listen();
  }

  /** Resolves when something has come, or it has failed. */
  next(): Promise<void> {
    return this.#changed.promise;
  }

  /** @throws why the destination, or the connection to it, has failed */
  orFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** @throws as {@link orFailure} */
  async untilReady(): Promise<ReadyMessage> {
    for (; this.ready === undefined; await this.next()) this.orFailure();
    return this.ready;
  }

  /** Listens on behind TAKE, when aborts count no more. This one is over. @param timeoutMs for each message */
  behindTake(timeoutMs: number): Replies {
    this.stop();
    return new Replies(this.#line, { timeoutMs, follow: true }, this);
  }

  /** What comes from now on is for whoever receives on the line next, also where this one waits for it already. */
  stop(): void {
    this.#stopped = true;
  }

  /** A broken connection is the consequence of what the destination said just before, if it said anything. */
  async reasonBehind(error: unknown, clock: Clock): Promise<unknown> {
    if (!(error instanceof ComicranError) || error.code !== 'peer.died') return error;
    await Promise.race([this.#listening, sleep(clock, REASON_MS)]);
    return this.#failure?.error ?? error;
  }

  async #listen(): Promise<void> {
    const { timeoutMs, follow } = this.#options;
    try {
      while (!this.#stopped && this.answer === undefined) {
        const awaited = this.ready === undefined ? 'READY' : 'REPORT';
        const message = await this.#line.receiveUnless(() => this.#stopped, timeoutMs, awaited);
        if (message === undefined) return;
        this.#take(message, awaited);
        this.#tell();
        if (!follow) return;
      }
    } catch (error) {
      this.#failure = { error };
      this.#tell();
    }
  }

  #take(message: DestinationMessage, awaited: 'READY' | 'REPORT'): void {
    if (this.ready !== undefined && message.type === 'TAKEN') this.taken = true;
    else if (this.taken && message.type === 'GIVEN_BACK') this.answer = message;
    else if (message.type !== awaited) throw this.#line.unexpected(message, awaited);
    else if (message.type === 'READY') this.ready = message;
    else {
      this.report = message;
      this.reports++;
    }
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}
