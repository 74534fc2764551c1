/**
 * A message on the connection: u32 length of the message, little-endian; the message under AES-256-GCM; the tag, 16
 * bytes. The length is authenticated with it. The nonce is the frame's number, so a frame that is missing, repeated or
 * out of place does not open. One call of the cipher a frame: its set-up costs as much as 100 KB of encryption. Where a
 * few microseconds of an answer count, that is done before: {@link FrameSealer.prepare}, {@link FrameOpener.prepare}.
 */
import { type CipherGCM, createCipheriv, createDecipheriv, type DecipherGCM } from 'node:crypto';
import { assert, defined } from '../assert.ts';
import { ComicranError } from '../errors.ts';
import { KEY_BYTES } from './handshake.ts';

export const HEADER_BYTES = 4;
export const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;

/** 96-bit nonces: a counter from 0. Keys are of one connection and one direction (handshake.ts). */
class Nonces {
  readonly #nonce = Buffer.alloc(NONCE_BYTES);
  #next = 0n;

  /** Valid until the next call. */
  next(): Buffer {
    this.#nonce.writeBigUInt64LE(this.#next++, 0);
    return this.#nonce;
  }
}

export class FrameSealer {
  readonly #key: Buffer;
  readonly #nonces = new Nonces();
  readonly #maxBytes: number;
  #prepared: CipherGCM | undefined;

  /** @param maxBytes of a message. */
  constructor(key: Buffer, maxBytes: number) {
    assert(key.length === KEY_BYTES, `a traffic key of ${key.length} bytes`);
    this.#key = key;
    this.#maxBytes = maxBytes;
  }

  /** Sets up the next frame's cipher, while there is nothing else to do. May be repeated. */
  prepare(): void {
    this.#prepared ??= createCipheriv(CIPHER, this.#key, this.#nonces.next());
  }

  /** @param parts the message, in order. @returns the frame in pieces, in order, which hold nothing of the parts. */
  seal(parts: readonly Uint8Array[]): Uint8Array[] {
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    assert(bytes <= this.#maxBytes, `a message of ${bytes} bytes, ${this.#maxBytes} is the most`);
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUInt32LE(bytes);
    this.prepare();
    const cipher = defined(this.#prepared, 'a cipher that has just been set up');
    this.#prepared = undefined;
    cipher.setAAD(header);
    const pieces: Uint8Array[] = [header];
    for (const part of parts) if (part.length > 0) pieces.push(cipher.update(part));
    cipher.final();
    pieces.push(cipher.getAuthTag());
    return pieces;
  }
}

export class FrameOpener {
  readonly #key: Buffer;
  readonly #nonces = new Nonces();
  readonly #maxBytes: number;
  #prepared: DecipherGCM | undefined;
  #opened = 0;

  constructor(key: Buffer, maxBytes: number) {
    assert(key.length === KEY_BYTES, `a traffic key of ${key.length} bytes`);
    this.#key = key;
    this.#maxBytes = maxBytes;
  }

  /** As {@link FrameSealer.prepare}. */
  prepare(): void {
    this.#prepared ??= createDecipheriv(CIPHER, this.#key, this.#nonces.next(), { authTagLength: TAG_BYTES });
  }

  /** @param start at least the header of a frame. @returns the length of the whole frame. */
  frameBytes(start: Buffer): number {
    const bytes = start.readUInt32LE(0);
    if (bytes > this.#maxBytes)
      throw new ComicranError(
        'peer.protocol',
        `frame ${this.#opened} from the peer says ${bytes} bytes, ${this.#maxBytes} is the most`,
      );
    return HEADER_BYTES + bytes + TAG_BYTES;
  }

  /**
   * @param frame one whole frame. @returns the message, in memory of its own.
   * @throws ComicranError peer.protocol: changed, missing, repeated, or of another key
   */
  open(frame: Buffer): Buffer {
    const number = this.#opened++;
    this.prepare();
    const decipher = defined(this.#prepared, 'a decipher that has just been set up');
    this.#prepared = undefined;
    decipher.setAAD(frame.subarray(0, HEADER_BYTES));
    decipher.setAuthTag(frame.subarray(frame.length - TAG_BYTES));
    const message = decipher.update(frame.subarray(HEADER_BYTES, frame.length - TAG_BYTES));
    try {
      decipher.final();
    } catch (cause) {
      throw new ComicranError('peer.protocol', `frame ${number} from the peer is damaged`, { cause });
    }
    return message;
  }
}
