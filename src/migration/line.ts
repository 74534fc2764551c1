/** One side's end of a channel: messages with deadlines, and the other side's failures as errors. */
import { ComicranError, isErrorCode, messageOf } from '../base/errors.ts';
import type { FailureText, Message } from './messages.ts';
import type { Channel, Clock } from './ports.ts';
import { within } from './waiting.ts';

type Receiving<Incoming> = { readonly message: Promise<Incoming>; failure?: { readonly error: unknown } };

export class Line<Outgoing extends Message, Incoming extends Message> {
  readonly #channel: Channel<Outgoing, Incoming>;
  readonly #clock: Clock;
  readonly #peer: string;
  #signal: AbortSignal | undefined;
  /** A receive that somebody gave up waiting for is still under way: whoever asks next gets what it brings. */
  #receiving: Receiving<Incoming> | undefined;
  #hasGivenUp = false;

  /** @param peer names the other machine in errors. */
  constructor(channel: Channel<Outgoing, Incoming>, clock: Clock, peer: string, signal?: AbortSignal) {
    this.#channel = channel;
    this.#clock = clock;
    this.#peer = peer;
    this.#signal = signal;
  }

  /** From here on nothing on this line ends because the migration is aborted. */
  ignoreAbort(): void {
    this.#signal = undefined;
  }

  /** The other side has said that the migration has failed there, and goes no further. */
  get hasGivenUp(): boolean {
    return this.#hasGivenUp;
  }

  /** Resolves when the message's bytes may be changed again. */
  async send(message: Outgoing, timeoutMs: number): Promise<void> {
    const what = `sending ${message.type} to ${this.#peer}`;
    await within(this.#clock, timeoutMs, what, this.#channel.send(message), { signal: this.#signal });
  }

  /** One caller at a time, but for those that have given up. */
  async receive(timeoutMs: number, awaited = 'a message'): Promise<Incoming> {
    const receiving = this.#receiving ?? this.#startReceiving(timeoutMs);
    const message = await this.#await(receiving, timeoutMs, awaited);
    this.#taken(receiving);
    return message;
  }

  /**
   * The same for a listener that may be told to stop while it waits: what comes then is left to whoever receives next.
   * @returns undefined where it has been told to stop
   */
  async receiveUnless(stopped: () => boolean, timeoutMs: number, awaited: string): Promise<Incoming | undefined> {
    const receiving = this.#receiving ?? this.#startReceiving(timeoutMs);
    const message = await this.#await(receiving, timeoutMs, awaited);
    if (stopped()) return undefined;
    this.#taken(receiving);
    return message;
  }

  async #await(receiving: Receiving<Incoming>, timeoutMs: number, awaited: string): Promise<Incoming> {
    try {
      const what = `waiting for ${awaited} from ${this.#peer}`;
      return await within(this.#clock, timeoutMs, what, receiving.message, { signal: this.#signal });
    } catch (error) {
      if (receiving.failure?.error === error) this.#taken(receiving);
      throw error;
    }
  }

  /** One that gave up may hear of a message later than the one who got it, and who receives the next one already. */
  #taken(receiving: Receiving<Incoming>): void {
    if (this.#receiving === receiving) this.#receiving = undefined;
  }

  #startReceiving(timeoutMs: number): Receiving<Incoming> {
    const receiving: Receiving<Incoming> = { message: this.#channel.receive(timeoutMs) };
    receiving.message.then(
      ({ type }) => {
        this.#hasGivenUp ||= type === 'FAILED' || type === 'ABORT';
      },
      (error: unknown) => {
        receiving.failure = { error };
      },
    );
    this.#receiving = receiving;
    return receiving;
  }

  /**
   * The next message, which must be of this type.
   * @throws ComicranError peer.protocol for another one; what the peer says where it says that it has failed.
   */
  async expect<Type extends Incoming['type']>(
    type: Type,
    timeoutMs: number,
  ): Promise<Extract<Incoming, { readonly type: Type }>> {
    const message: Incoming = await this.receive(timeoutMs, type);
    if (isOfType(message, type)) return message;
    throw this.unexpected(message, type);
  }

  /** The error that a message is which nobody waits for. */
  unexpected(message: Incoming, expected: string): ComicranError {
    if (message.type === 'FAILED' || message.type === 'ABORT' || message.type === 'GIVEN_BACK')
      return failureOf(message, this.#peer);
    return new ComicranError('peer.protocol', `${this.#peer} sent ${message.type} where ${expected} was expected`);
  }

  recycle(message: Incoming): void {
    this.#channel.recycle?.(message);
  }

  /** Reads and forgets until the peer has closed: a close with unread bytes would overtake what was just sent. */
  async closeAfterPeer(timeoutMs: number): Promise<void> {
    const until = this.#clock.nowMicros() + timeoutMs * 1000;
    try {
      for (let left = timeoutMs; left > 0; left = (until - this.#clock.nowMicros()) / 1000)
        this.recycle(await this.receive(left));
    } catch {
      // The peer has closed, or is gone, or takes too long: in each case there is nothing left to say.
    }
    this.close();
  }

  close(): void {
    this.#channel.close();
  }
}

function isOfType<Any extends Message, Type extends Any['type']>(
  message: Any,
  type: Type,
): message is Extract<Any, { readonly type: Type }> {
  return message.type === type;
}

function failureOf(failure: FailureText, peer: string): ComicranError {
  const details = failure.hint === '' ? {} : { hint: failure.hint };
  const code = isErrorCode(failure.code) ? failure.code : 'peer.refused';
  return new ComicranError(code, `${peer} gave up: ${failure.message}`, details);
}

/** What is sent of an error. */
export function failureText(error: unknown): FailureText {
  const known = error instanceof ComicranError ? error : undefined;
  return { code: known?.code ?? 'migration.failed', message: messageOf(error), hint: known?.hint ?? '' };
}
