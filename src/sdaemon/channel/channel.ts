/** A {@link Channel} over an established connection: every message one sealed frame. */
import { ComicranError, messageOf } from '../../base/errors.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { PollSet } from '../../linux/poll.ts';
import { endSending, isBrokenConnection, receiveTcp, TcpWriter } from '../../linux/tcp.ts';
import type { Channel } from '../../migration/ports.ts';
import type { PeerConnection } from './establish.ts';
import { HEADER_BYTES, TAG_BYTES } from './frames.ts';
import { Turns } from './turns.ts';

export type MessageCodec<Outgoing, Incoming> = {
  /** In parts, so that large ones need not be copied. */
  readonly encode: (message: Outgoing) => readonly Uint8Array[];
  /** May return views of the bytes. @throws ComicranError peer.protocol */
  readonly decode: (bytes: Uint8Array) => Incoming;
};

const SOCKET = 0;
const WAKE = 1;
/** Pieces of a frame: header, tag, and the parts of a message. */
const MAX_PIECES = 16;
/** How much is read while it is not known how long the next frame is. */
const READ_AHEAD_BYTES = 64 << 10;
/** A close waits so long at most until what was sent has been handed to the kernel. */
const CLOSE_MS = 2_000;

/**
 * It blocks its thread for a few milliseconds at a time while it waits (turns.ts), so it belongs into a worker. Views in
 * a received message stay valid for ever. After a failure every call fails in the same way.
 */
export class SecureChannel<Outgoing, Incoming> implements Channel<Outgoing, Incoming> {
  readonly #connection: PeerConnection;
  readonly #codec: MessageCodec<Outgoing, Incoming>;
  readonly #nowMs: () => number;
  readonly #turns: Turns;
  readonly #writer: TcpWriter;
  readonly #set = new PollSet(2);
  readonly #received: Buffer;
  #filled = 0;
  /** Sealed and not yet taken by the kernel. */
  #unsent: Uint8Array[] = [];
  #sending: Promise<void> | undefined;
  #receiving = false;
  #failure: ComicranError | undefined;
  #closed = false;

  /** Takes the connection over: {@link close} closes it. @param maxMessageBytes the one of the connection. */
  constructor(
    connection: PeerConnection,
    codec: MessageCodec<Outgoing, Incoming>,
    maxMessageBytes: number,
    nowMs: () => number,
  ) {
    this.#connection = connection;
    this.#codec = codec;
    this.#nowMs = nowMs;
    this.#turns = new Turns(nowMs);
    this.#writer = new TcpWriter(connection.socket, MAX_PIECES);
    this.#received = Buffer.allocUnsafeSlow(HEADER_BYTES + maxMessageBytes + TAG_BYTES + READ_AHEAD_BYTES);
    this.#set.set(WAKE, connection.wake, POLL.IN);
  }

  send(message: Outgoing): void | Promise<void> {
    this.#check();
    this.#unsent.push(...this.#connection.sealer.seal(this.#codec.encode(message)));
    if (this.#sending === undefined) {
      this.#writeSome();
      if (this.#unsent.length === 0 && !this.#turns.due) return;
      this.#sending = this.#writeAll().finally(() => {
        this.#sending = undefined;
      });
      // Whoever does not wait for a send is told by the next call.
      this.#sending.catch(() => undefined);
    }
    return this.#sending;
  }

  async receive(timeoutMs: number): Promise<Incoming> {
    this.#check();
    this.#receiving = true;
    try {
      if (this.#turns.due) await this.#turns.give();
      const deadline = this.#nowMs() + timeoutMs;
      for (;;) {
        const frame = this.#readFrame();
        if (frame !== undefined) return this.#decode(frame);
        const remaining = deadline - this.#nowMs();
        if (remaining <= 0)
          throw new ComicranError('deadline', `nothing came from the peer within ${Math.round(timeoutMs)} ms`);
        await this.#wait(remaining);
      }
    } finally {
      this.#receiving = false;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#sending === undefined) this.#end();
    else {
      const end = (): void => this.#end();
      this.#sending.then(end, end);
    }
  }

  #end(): void {
    const { socket } = this.#connection;
    endSending(socket);
    // Closing a socket that holds unread bytes resets the connection, and what is on its way is lost with it.
    try {
      while ((receiveTcp(socket, this.#received) ?? 0) > 0);
    } catch {
      // Broken already.
    }
    closeDescriptor(socket);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closed) throw new ComicranError('peer.died', 'the connection to the peer has been closed on this side');
  }

  /** The failure as everybody is told it, now and later. */
  #broken(thrown: unknown): ComicranError {
    if (thrown instanceof ComicranError) this.#failure ??= thrown;
    else if (isBrokenConnection(thrown))
      this.#failure ??= new ComicranError('peer.died', `the connection to the peer broke: ${messageOf(thrown)}`, {
        cause: thrown,
      });
    else throw thrown;
    return this.#failure;
  }

  /** Waits for what either direction needs. */
  async #wait(remainingMs: number): Promise<void> {
    const events = (this.#receiving ? POLL.IN : 0) | (this.#unsent.length > 0 ? POLL.OUT : 0);
    this.#set.set(SOCKET, this.#connection.socket, events);
    await this.#turns.wait(this.#set, WAKE, remainingMs);
  }

  async #writeAll(): Promise<void> {
    let closeBy = Number.POSITIVE_INFINITY;
    await this.#turns.give();
    while (this.#unsent.length > 0) {
      if (this.#failure !== undefined) throw this.#failure;
      this.#writeSome();
      if (this.#unsent.length === 0) return;
      if (this.#closed && closeBy === Number.POSITIVE_INFINITY) closeBy = this.#nowMs() + CLOSE_MS;
      if (this.#nowMs() > closeBy) throw new ComicranError('deadline', 'the peer does not take what was sent');
      await this.#wait(CLOSE_MS);
    }
  }

  /** Hands to the kernel what it has room for. */
  #writeSome(): void {
    try {
      while (this.#unsent.length > 0) {
        let count = this.#writer.write(this.#unsent.slice(0, MAX_PIECES));
        if (count === undefined) return;
        let done = 0;
        while (done < this.#unsent.length && count >= this.#unsent[done]!.length) count -= this.#unsent[done++]!.length;
        this.#unsent.splice(0, done);
        if (count > 0) this.#unsent[0] = this.#unsent[0]!.subarray(count);
      }
    } catch (thrown) {
      throw this.#broken(thrown);
    }
  }

  /** @returns the bytes of a message; undefined: no whole frame has come yet. */
  #readFrame(): Buffer | undefined {
    try {
      for (;;) {
        const wanted = this.#filled < HEADER_BYTES ? undefined : this.#connection.opener.frameBytes(this.#received);
        if (wanted !== undefined && this.#filled >= wanted) {
          const message = this.#connection.opener.open(this.#received.subarray(0, wanted));
          this.#received.copyWithin(0, wanted, this.#filled);
          this.#filled -= wanted;
          return message;
        }
        const end = Math.max(wanted ?? 0, this.#filled + READ_AHEAD_BYTES);
        const room = this.#received.subarray(this.#filled, Math.min(end, this.#received.length));
        const count = receiveTcp(this.#connection.socket, room);
        if (count === undefined) return undefined;
        if (count === 0) throw new ComicranError('peer.died', 'the peer has ended the connection');
        this.#filled += count;
      }
    } catch (thrown) {
      throw this.#broken(thrown);
    }
  }

  #decode(bytes: Buffer): Incoming {
    try {
      return this.#codec.decode(bytes);
    } catch (thrown) {
      throw this.#broken(thrown);
    }
  }
}
