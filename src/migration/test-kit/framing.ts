/**
 * Messages in a stream of bytes: each behind its length, 32 bits, little-endian. For a channel that has no frames of
 * its own.
 */
import { assert } from '../../base/assert.ts';
import { ComicranError } from '../../base/errors.ts';
import { MAX_MESSAGE_BYTES } from '../messages.ts';

const LENGTH_BYTES = 4;
const KEPT_BYTES = 64 << 10;
const KEPT_FRAMES = 8;

/** @returns what goes before the parts of a message on the stream. */
export function frameHeader(parts: readonly Uint8Array[]): Buffer {
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  assert(bytes > 0 && bytes <= MAX_MESSAGE_BYTES, `a frame of ${bytes} bytes`);
  const header = Buffer.allocUnsafe(LENGTH_BYTES);
  header.writeUInt32LE(bytes);
  return header;
}

/**
 * Cuts a stream into the frames that were written to it, wherever the pieces that arrive begin and end. Each byte is
 * copied once, into a buffer of the frame's length; buffers that are given back are used again.
 */
export class FrameReader {
  readonly #length = Buffer.alloc(LENGTH_BYTES);
  #lengthFilled = 0;
  #frame: Buffer | undefined;
  #frameFilled = 0;
  readonly #spare: Buffer[] = [];

  /**
   * @returns the frames that are whole with this piece; they share no memory with it.
   * @throws ComicranError peer.protocol for a length that no message has; the stream is of no use after it.
   */
  push(piece: Uint8Array): Buffer[] {
    const frames: Buffer[] = [];
    for (let at = 0; at < piece.length; ) {
      if (this.#frame === undefined) {
        at += this.#fillLength(piece.subarray(at));
        continue;
      }
      const part = piece.subarray(at, at + this.#frame.length - this.#frameFilled);
      this.#frame.set(part, this.#frameFilled);
      this.#frameFilled += part.length;
      at += part.length;
      if (this.#frameFilled < this.#frame.length) continue;
      frames.push(this.#frame);
      this.#frame = undefined;
    }
    return frames;
  }

  /** True where the stream may end: not inside of a frame. */
  get atBoundary(): boolean {
    return this.#frame === undefined && this.#lengthFilled === 0;
  }

  /** Gives back a frame that {@link push} returned and nobody looks at any more. Small ones are not worth keeping. */
  recycle(frame: Buffer): void {
    if (frame.buffer.byteLength >= KEPT_BYTES && this.#spare.length < KEPT_FRAMES)
      this.#spare.push(Buffer.from(frame.buffer));
  }

  #fillLength(piece: Uint8Array): number {
    const part = piece.subarray(0, LENGTH_BYTES - this.#lengthFilled);
    this.#length.set(part, this.#lengthFilled);
    this.#lengthFilled += part.length;
    if (this.#lengthFilled < LENGTH_BYTES) return part.length;
    this.#lengthFilled = 0;
    const bytes = this.#length.readUInt32LE();
    if (bytes === 0 || bytes > MAX_MESSAGE_BYTES)
      throw new ComicranError('peer.protocol', `a frame of ${bytes} bytes; 1 to ${MAX_MESSAGE_BYTES} is allowed`);
    this.#frame = this.#bufferOf(bytes);
    this.#frameFilled = 0;
    return part.length;
  }

  #bufferOf(bytes: number): Buffer {
    const fits = this.#spare.findIndex((spare) => spare.length >= bytes);
    // A buffer of its own, never one of the pool that small Buffers share: it is reused as a whole.
    const buffer = fits === -1 ? Buffer.allocUnsafeSlow(bytes) : this.#spare.splice(fits, 1)[0]!;
    return buffer.subarray(0, bytes);
  }
}
