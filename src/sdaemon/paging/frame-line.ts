/**
 * A connection to the peer for a thread that waits for nothing else: sealed frames in, sealed frames out, at once or not
 * at all. The frames are those of base/secure-frames; here nothing is allocated for one, for pages are waited for.
 */

import { assert } from '../../base/assert.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { HEADER_BYTES, TAG_BYTES } from '../../base/secure-frames/frames.ts';
import { type AesGcm, NONCE_BYTES, openAesGcm } from '../../linux/aes-gcm.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { endSending, isBrokenConnection, receiveTcp, TcpWriter } from '../../linux/tcp.ts';
import type { PeerConnection } from '../channel/establish.ts';
import type { Watched } from '../readiness.ts';

const READ_AHEAD_BYTES = 256 << 10;

/** Counts frames from one side: each number is a nonce. */
class FrameCipher {
  readonly cipher: AesGcm;
  readonly #nonce = Buffer.alloc(NONCE_BYTES);
  #next: bigint;

  constructor(key: Buffer, used: bigint) {
    this.cipher = openAesGcm(key);
    this.#next = used;
  }

  /** Valid until the next call. */
  nextNonce(): Buffer {
    this.#nonce.writeBigUInt64LE(this.#next++);
    return this.#nonce;
  }
}

export class FrameLine {
  readonly #socket: number;
  readonly #maxBytes: number;
  readonly #sealer: FrameCipher;
  readonly #opener: FrameCipher;
  readonly #writer: TcpWriter;
  readonly #received: Buffer;
  /** What has been received and not opened yet: [start, end). */
  #start = 0;
  #end = 0;
  readonly #sending: Buffer;
  /** Frames that the kernel has not taken yet; the first may be part of `#sending`. */
  #unsent: Uint8Array[] = [];
  #closed = false;

  /** Takes the connection over: {@link close} closes it. @param maxMessageBytes the one of the connection. */
  constructor({ socket, keys }: PeerConnection, maxMessageBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxMessageBytes;
    this.#sealer = new FrameCipher(keys.sealing, keys.sealed);
    this.#opener = new FrameCipher(keys.opening, keys.opened);
    this.#writer = new TcpWriter(socket, 1);
    const frameBytes = HEADER_BYTES + maxMessageBytes + TAG_BYTES;
    this.#received = Buffer.allocUnsafeSlow(frameBytes + READ_AHEAD_BYTES);
    this.#sending = Buffer.allocUnsafeSlow(frameBytes);
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
    return { descriptor: this.#socket, events: this.isCongested ? POLL.IN | POLL.OUT : POLL.IN };
  }

  /**
   * The next message, valid until the next call; undefined: no whole one has come.
   * @throws ComicranError peer.died, peer.protocol
   */
  receive(): Buffer | undefined {
    for (;;) {
      const there = this.#end - this.#start;
      const bytes = there < HEADER_BYTES ? undefined : this.#received.readUInt32LE(this.#start);
      if (bytes !== undefined) {
        if (bytes > this.#maxBytes)
          throw new ComicranError('peer.protocol', `a frame of ${bytes} bytes, ${this.#maxBytes} is the most`);
        if (there >= HEADER_BYTES + bytes + TAG_BYTES) return this.#open(bytes);
      }
      this.#makeRoom(bytes ?? 0);
      const count = this.#guarded(() => receiveTcp(this.#socket, this.#received.subarray(this.#end)));
      if (count === undefined) return undefined;
      if (count === 0) throw new ComicranError('peer.died', 'the peer has ended the connection');
      this.#end += count;
    }
  }

  #open(bytes: number): Buffer {
    const from = this.#start + HEADER_BYTES;
    const header = this.#received.subarray(this.#start, from);
    const sealed = this.#received.subarray(from, from + bytes + TAG_BYTES);
    if (!this.#opener.cipher.decrypt(this.#opener.nextNonce(), header, sealed))
      throw new ComicranError('peer.protocol', 'a frame from the peer is damaged');
    this.#start = from + bytes + TAG_BYTES;
    return sealed.subarray(0, bytes);
  }

  /** For the rest of a message of so many bytes; what was opened is written over. */
  #makeRoom(bytes: number): void {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#start + HEADER_BYTES + bytes + TAG_BYTES > this.#received.length) {
      this.#received.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
  }

  /** @param parts of one message; they may change afterwards. @throws ComicranError peer.died */
  send(parts: readonly Uint8Array[]): void {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    assert(bytes <= this.#maxBytes, `a message of ${bytes} bytes, ${this.#maxBytes} is the most`);
    const length = HEADER_BYTES + bytes + TAG_BYTES;
    const frame = this.isCongested ? Buffer.allocUnsafeSlow(length) : this.#sending.subarray(0, length);
    frame.writeUInt32LE(bytes);
    const header = frame.subarray(0, HEADER_BYTES);
    this.#sealer.cipher.encrypt(this.#sealer.nextNonce(), header, parts, frame.subarray(HEADER_BYTES));
    this.#unsent.push(frame);
    this.flush();
  }

  /** Hands to the kernel what it has room for. */
  flush(): void {
    for (let frame = this.#unsent[0]; frame !== undefined; frame = this.#unsent[0]) {
      const rest = frame;
      const count = this.#guarded(() => this.#writer.write([rest]));
      if (count === undefined) return;
      if (count < rest.length) this.#unsent[0] = rest.subarray(count);
      else this.#unsent.shift();
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
    endSending(this.#socket);
    closeDescriptor(this.#socket);
    this.#sealer.cipher.close();
    this.#opener.cipher.close();
  }
}
