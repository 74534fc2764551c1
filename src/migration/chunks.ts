/** Memory in pieces that fit a message. */
import { assert } from '../base/assert.ts';
import { MAX_RANGES, PAGE_BYTES } from './messages.ts';
import type { PageRange } from './ports.ts';

export type Chunk = { readonly ranges: readonly PageRange[]; readonly bytes: number };

/**
 * The ranges in order, many small ones together and large ones cut, each chunk at most `maxBytes` long. Lazy, so that
 * the first chunk is on its way before the last range has been looked at.
 */
export function* chunksOf(ranges: readonly PageRange[], maxBytes: number): Generator<Chunk> {
  assert(maxBytes >= PAGE_BYTES && maxBytes % PAGE_BYTES === 0, `chunks of ${maxBytes} bytes`);
  let gathered: PageRange[] = [];
  let bytes = 0;
  for (const range of ranges) {
    assert(range.length > 0 && range.length % PAGE_BYTES === 0, `a range of ${range.length} bytes`);
    for (let offset = 0; offset < range.length; ) {
      const length = Math.min(range.length - offset, maxBytes - bytes);
      gathered.push(length === range.length ? range : { start: range.start + BigInt(offset), length });
      bytes += length;
      offset += length;
      if (bytes < maxBytes && gathered.length < MAX_RANGES) continue;
      yield { ranges: gathered, bytes };
      gathered = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield { ranges: gathered, bytes };
}

export function totalLength(ranges: readonly PageRange[]): number {
  return ranges.reduce((sum, range) => sum + range.length, 0);
}

/**
 * A few buffers in turn: one is filled while those before it are still being sent. Made and touched before the process
 * is stopped, so that the kernel need not find memory for them then.
 */
export class BufferRing {
  readonly #slots: { readonly buffer: Uint8Array; sent: Promise<void> | undefined }[];
  #next = 0;

  constructor(count: number, bytes: number) {
    this.#slots = Array.from({ length: count }, () => ({ buffer: new Uint8Array(bytes).fill(1), sent: undefined }));
  }

  /**
   * @param fill fills the beginning of a buffer that nobody uses any more
   * @param send sends it; what it returns says until when the buffer is in use. Not waited for here.
   * @throws what an earlier send of the same buffer was rejected with
   */
  async use(
    fill: (buffer: Uint8Array) => void | Promise<void>,
    send: (buffer: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const slot = this.#slots[this.#next]!;
    this.#next = (this.#next + 1) % this.#slots.length;
    await slot.sent;
    await fill(slot.buffer);
    slot.sent = send(slot.buffer);
    // Looked at when the buffer's turn comes, or in flush; until then a rejection is not unhandled.
    slot.sent.catch(() => {});
  }

  /** Resolves when no buffer is in use any more. */
  async flush(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.sent));
  }
}
