/**
 * Memory of a process that has come before the process itself: what of it is still its memory when it is being built is
 * known only then. Pages are kept where they came; a later copy of a page is written over the earlier one.
 */
import { PAGE_BYTES } from './messages.ts';
import type { PageRange } from './ports.ts';

export class StagedPages {
  /** By number of the page. */
  readonly #pages = new Map<number, Uint8Array>();

  /** Pages that are kept. */
  get count(): number {
    return this.#pages.size;
  }

  /**
   * @param bytes the memory of `ranges`, one behind another
   * @returns whether they are kept from now on: they must not be changed any more
   */
  put(ranges: readonly PageRange[], bytes: Uint8Array): boolean {
    let kept = false;
    let done = 0;
    for (const { start, length } of ranges) {
      const first = Number(start / BigInt(PAGE_BYTES));
      for (let at = 0; at < length; at += PAGE_BYTES, done += PAGE_BYTES) {
        const page = bytes.subarray(done, done + PAGE_BYTES);
        const earlier = this.#pages.get(first + at / PAGE_BYTES);
        if (earlier !== undefined) earlier.set(page);
        else {
          this.#pages.set(first + at / PAGE_BYTES, page);
          kept = true;
        }
      }
    }
    return kept;
  }

  /**
   * Those of the pages in `own` that are kept, as few and long pieces as they lie in memory.
   * @param onAbsent told of every page of `own` that is not, by its number
   */
  *pieces(
    own: readonly PageRange[],
    maxBytes: number,
    onAbsent: (page: number) => void,
  ): Generator<{ readonly range: PageRange; readonly bytes: Uint8Array }> {
    let first = 0;
    let piece: Uint8Array | undefined;
    const finished = function* (): Generator<{ readonly range: PageRange; readonly bytes: Uint8Array }> {
      if (piece === undefined) return;
      yield { range: { start: BigInt(first) * BigInt(PAGE_BYTES), length: piece.length }, bytes: piece };
      piece = undefined;
    };
    for (const { start, length } of own) {
      const from = Number(start / BigInt(PAGE_BYTES));
      for (let number = from; number < from + length / PAGE_BYTES; number++) {
        const page = this.#pages.get(number);
        if (page === undefined) {
          onAbsent(number);
          continue;
        }
        const fits = piece !== undefined && piece.length < maxBytes && number === first + piece.length / PAGE_BYTES;
        if (piece !== undefined && fits && isBehind(page, piece)) {
          piece = new Uint8Array(piece.buffer, piece.byteOffset, piece.length + PAGE_BYTES);
          continue;
        }
        yield* finished();
        first = number;
        piece = page;
      }
    }
    yield* finished();
  }
}

function isBehind(page: Uint8Array, piece: Uint8Array): boolean {
  return page.buffer === piece.buffer && page.byteOffset === piece.byteOffset + piece.length;
}
