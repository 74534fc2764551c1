/** Pages that arrive for the new process. */
import { ComicranError } from '../base/errors.ts';
import { AREA, type MemoryImage } from '../image/types.ts';
import type { ProcessMemory } from '../linux/memory.ts';
import type { LazyMemory } from './lazy-memory.ts';

export type PageRange = { readonly start: bigint; readonly length: number };

type Span = { readonly start: bigint; readonly end: bigint };

/** Writes pages where the image has private memory, and nowhere else. */
export class PageWriter {
  readonly #memory: ProcessMemory;
  readonly #spans: readonly Span[];
  readonly #lazy: LazyMemory | null;
  #bytes = 0n;

  /** @param lazy memory that can be written through it alone. */
  constructor(memory: ProcessMemory, image: MemoryImage, lazy: LazyMemory | null) {
    this.#memory = memory;
    this.#spans = writableSpans(image);
    this.#lazy = lazy;
  }

  /** Bytes written so far; a page that came twice counts twice. */
  get bytes(): bigint {
    return this.#bytes;
  }

  /**
   * @param bytes the memory of `ranges`, one behind another.
   * @throws ComicranError image.invalid: a range that is not the process's private memory.
   */
  write(ranges: readonly PageRange[], bytes: Uint8Array): void {
    const total = ranges.reduce((sum, { length }) => sum + length, 0);
    if (total !== bytes.length)
      throw new ComicranError('image.invalid', `${bytes.length} bytes came for ${total} bytes of pages`);
    for (const { start, length } of ranges)
      if (!this.#allows(start, start + BigInt(length)))
        throw new ComicranError(
          'image.invalid',
          `pages for 0x${start.toString(16)}, where the process has no memory of its own`,
        );
    if (this.#lazy === null) this.#memory.writeRanges(ranges, bytes);
    else this.#writePieces(this.#lazy, ranges, bytes);
    this.#bytes += BigInt(bytes.length);
  }

  /** Cuts the ranges at the borders of lazy areas. */
  #writePieces(lazy: LazyMemory, ranges: readonly PageRange[], bytes: Uint8Array): void {
    let done = 0;
    for (const { start, length } of ranges) {
      const end = start + BigInt(length);
      for (let at = start; at < end; ) {
        const area = lazy.areaAt(at);
        const border = area?.end ?? lazy.nextArea(at)?.start ?? end;
        const to = border < end ? border : end;
        const piece = bytes.subarray(done, done + Number(to - at));
        if (area === undefined) this.#memory.writeRanges([{ start: at, length: piece.length }], piece);
        else lazy.copy(at, piece, (address, page) => this.#memory.write(address, page));
        done += piece.length;
        at = to;
      }
    }
  }

  #allows(start: bigint, end: bigint): boolean {
    let low = 0;
    let high = this.#spans.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const span = this.#spans[middle]!;
      if (end <= span.start) high = middle - 1;
      else if (start >= span.end) low = middle + 1;
      else return start >= span.start && end <= span.end;
    }
    return false;
  }
}

/** Private areas, those that touch as one. */
function writableSpans({ areas }: MemoryImage): Span[] {
  const spans: Span[] = [];
  for (const { start, end, flags } of areas) {
    if ((flags & AREA.SHARED) !== 0) continue;
    const last = spans.at(-1);
    if (last?.end === start) spans[spans.length - 1] = { start: last.start, end };
    else spans.push({ start, end });
  }
  return spans;
}
