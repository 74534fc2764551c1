/** A {@link Channel} over an established connection: every message one sealed frame. */
import { ComicranError, messageOf } from '../../base/errors.ts';
import { HEADER_BYTES, TAG_BYTES } from '../../base/secure-frames/frames.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { endSending, isBrokenConnection, receiveTcp, TcpWriter } from '../../linux/tcp.ts';
import type { Channel } from '../../migration/ports.ts';
import type { Readiness } from '../readiness.ts';
import type { PeerConnection } from './establish.ts';

export type MessageCodec<Outgoing, Incoming> = {
  /** In parts, so that large ones need not be copied. */
  readonly encode: (message: Outgoing) => readonly Uint8Array[];
  /** May return views of the bytes. @throws ComicranError peer.protocol */
  readonly decode: (bytes: Uint8Array) => Incoming;
};

/** Pieces of a frame: header, tag, and the parts of a message. */
const MAX_PIECES = 16;
/** How much is read while it is not known how long the next frame is. */
const READ_AHEAD_BYTES = 64 << 10;
/** A close waits so long at most until what was sent has been handed to the kernel. */
const CLOSE_MS = 2_000;
const NOT_TAKEN = 'the peer does not take what was sent';

/**
 * It blocks its thread for a few milliseconds at a time while it waits (readiness.ts), so it belongs into a worker. Views
 * in a received message stay valid for ever. After a failure every call fails in the same way.
 */
export class SecureChannel<Outgoing, Incoming> implements Channel<Outgoing, Incoming> {
  readonly #connection: PeerConnection;
  readonly #codec: MessageCodec<Outgoing, Incoming>;
  readonly #readiness: Readiness;
  readonly #writer: TcpWriter;
  readonly #received: Buffer;
  #filled = 0;
  /** Sealed and not yet taken by the kernel. */
  #unsent: Uint8Array[] = [];
  #sending: Promise<void> | undefined;
  #failure: ComicranError | undefined;
  #closed = false;
  #closeByMs = Number.POSITIVE_INFINITY;

  /** Takes the connection over: {@link close} closes it. @param maxMessageBytes the one of the connection. */
  constructor(
    connection: PeerConnection,
    codec: MessageCodec<Outgoing, Incoming>,
    maxMessageBytes: number,
    readiness: Readiness,
  ) {
    this.#connection = connection;
    this.#codec = codec;
    this.#readiness = readiness;
    this.#writer = new TcpWriter(connection.socket, MAX_PIECES);
    this.#received = Buffer.allocUnsafeSlow(HEADER_BYTES + maxMessageBytes + TAG_BYTES + READ_AHEAD_BYTES);
  }

  send(message: Outgoing): void | Promise<void> {
    this.#check();
    this.#unsent.push(...this.#connection.sealer.seal(this.#codec.encode(message)));
    if (this.#sending === undefined) {
      this.#writeSome();
      if (this.#unsent.length === 0 && !this.#readiness.turnDue) return;
      this.#sending = this.#writeAll().finally(() => {
        this.#sending = undefined;
      });
      // Whoever does not wait for a send is told by the next call.
      this.#sending.catch(() => undefined);
    }
    return this.#sending;
  }

  async receive(timeoutMs: number): Promise<Incoming> {
    const deadline = this.#readiness.nowMs() + timeoutMs;
    if (this.#readiness.turnDue) await this.#readiness.turn();
    for (;;) {
      this.#check();
      const frame = this.#readFrame();
      if (frame !== undefined) return this.#decode(frame);
      const remaining = deadline - this.#readiness.nowMs();
      if (remaining <= 0)
        throw new ComicranError('deadline', `nothing came from the peer within ${Math.round(timeoutMs)} ms`);
      // While the peer thinks: what the next frame of each direction needs.
      this.#connection.sealer.prepare();
      this.#connection.opener.prepare();
      await this.#readiness.wait(this.#connection.socket, POLL.IN, remaining);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closeByMs = this.#readiness.nowMs() + CLOSE_MS;
    this.#readiness.forget(this.#connection.socket);
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

  async #writeAll(): Promise<void> {
    if (this.#unsent.length === 0) await this.#readiness.turn();
    while (this.#unsent.length > 0) {
      await this.#readiness.wait(this.#connection.socket, POLL.OUT, CLOSE_MS);
      if (this.#failure !== undefined) throw this.#failure;
      this.#writeSome();
      if (this.#readiness.nowMs() > this.#closeByMs) throw this.#broken(new ComicranError('deadline', NOT_TAKEN));
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
