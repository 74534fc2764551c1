/** A connection to the peer for a thread that never waits for it: sealed frames in, sealed frames out, at once or not at all. */

import { ComicranError, messageOf } from '../../base/errors.ts';
import { HEADER_BYTES, TAG_BYTES } from '../../base/secure-frames/frames.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { endSending, isBrokenConnection, receiveTcp, TcpWriter } from '../../linux/tcp.ts';
import type { PeerConnection } from '../channel/establish.ts';
import type { Watched } from '../readiness.ts';

const MAX_PIECES = 32;
const READ_AHEAD_BYTES = 256 << 10;

export class FrameLine {
  readonly #connection: PeerConnection;
  readonly #writer: TcpWriter;
  readonly #received: Buffer;
  /** What has been received and not opened yet: [start, end). */
  #start = 0;
  #end = 0;
  #unsent: Uint8Array[] = [];
  #closed = false;

  /** Takes the connection over: {@link close} closes it. @param maxMessageBytes the one of the connection. */
  constructor(connection: PeerConnection, maxMessageBytes: number) {
    this.#connection = connection;
    this.#writer = new TcpWriter(connection.socket, MAX_PIECES);
    this.#received = Buffer.allocUnsafeSlow(HEADER_BYTES + maxMessageBytes + TAG_BYTES + READ_AHEAD_BYTES);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Something that was sent has not been taken by the kernel yet. */
  get isCongested(): boolean {
    return this.#unsent.length > 0;
  }

  /** What to wait for. */
  get watched(): Watched {
    return { descriptor: this.#connection.socket, events: this.isCongested ? POLL.IN | POLL.OUT : POLL.IN };
  }

  /** Does in advance what can be done for the next frames. */
  prepare(): void {
    this.#connection.sealer.prepare();
    this.#connection.opener.prepare();
  }

  /**
   * The next message, in memory of its own; undefined: no whole one has come.
   * @throws ComicranError peer.died, peer.protocol
   */
  receive(): Buffer | undefined {
    const { opener, socket } = this.#connection;
    for (;;) {
      const there = this.#end - this.#start;
      const wanted =
        there < HEADER_BYTES ? undefined : opener.frameBytes(this.#received.subarray(this.#start, this.#end));
      if (wanted !== undefined && there >= wanted) {
        const message = opener.open(this.#received.subarray(this.#start, this.#start + wanted));
        this.#start += wanted;
        if (this.#start === this.#end) this.#start = this.#end = 0;
        return message;
      }
      if (this.#received.length - this.#start < (wanted ?? HEADER_BYTES) || this.#end === this.#received.length) {
        this.#received.copyWithin(0, this.#start, this.#end);
        this.#end -= this.#start;
        this.#start = 0;
      }
      const count = this.#guarded(() => receiveTcp(socket, this.#received.subarray(this.#end)));
      if (count === undefined) return undefined;
      if (count === 0) throw new ComicranError('peer.died', 'the peer has ended the connection');
      this.#end += count;
    }
  }

  /** @param parts of one message; they may change afterwards. @throws ComicranError peer.died */
  send(parts: readonly Uint8Array[]): void {
    this.#unsent.push(...this.#connection.sealer.seal(parts));
    this.flush();
  }

  /** Hands to the kernel what it has room for. */
  flush(): void {
    while (this.#unsent.length > 0) {
      let count = this.#guarded(() => this.#writer.write(this.#unsent.slice(0, MAX_PIECES)));
      if (count === undefined) return;
      let done = 0;
      while (done < this.#unsent.length && count >= this.#unsent[done]!.length) count -= this.#unsent[done++]!.length;
      this.#unsent.splice(0, done);
      if (count > 0) this.#unsent[0] = this.#unsent[0]!.subarray(count);
    }
  }

  #guarded<T>(run: () => T): T {
    try {
      return run();
    } catch (cause) {
      if (!isBrokenConnection(cause)) throw cause;
      throw new ComicranError('peer.died', `the connection to the peer broke: ${messageOf(cause)}`, { cause });
    }
  }

  /** What was sent last may be lost, unless it was taken by the kernel and the peer reads it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    endSending(this.#connection.socket);
    closeDescriptor(this.#connection.socket);
  }
}
