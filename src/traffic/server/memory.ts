/** Memory that a server holds so that there is something to move, and a way to notice when it was moved wrongly. */

export const PAGE_BYTES = 4096;

const WORDS_PER_PAGE = PAGE_BYTES / 4;
const GOLDEN_RATIO = 0x9e3779b9;

/** The page's first word; never zero, so that a page which was lost (and reads as zeros) is noticed. */
const tagOf = (page: number): number => (Math.imul(page, GOLDEN_RATIO) | 1) >>> 0;

/**
 * Pages of deterministic content, different from page to page and nowhere a page of zeros. The first word of a page is
 * its tag, the second counts how often the page was touched, the rest is noise that does not compress.
 */
export class Ballast {
  readonly #words: Uint32Array;
  readonly #pages: number;
  #next = 0;

  /** @param bytes rounded up to whole pages. All of it is written, so that all of it is resident. */
  constructor(bytes: number) {
    this.#pages = Math.ceil(bytes / PAGE_BYTES);
    this.#words = new Uint32Array(this.#pages * WORDS_PER_PAGE);
    let noise = 0x2545f491;
    for (let page = 0; page < this.#pages; page++) {
      const first = page * WORDS_PER_PAGE;
      this.#words[first] = tagOf(page);
      for (let word = first + 2; word < first + WORDS_PER_PAGE; word++) {
        // xorshift32 (Marsaglia 2003): the same content in every run.
        noise ^= noise << 13;
        noise ^= noise >>> 17;
        noise ^= noise << 5;
        this.#words[word] = noise;
      }
    }
  }

  get pages(): number {
    return this.#pages;
  }

  /** The memory itself, as words of 32 bits. */
  content(): Uint32Array {
    return this.#words;
  }

  /** How often each page was touched. */
  touches(): Uint32Array {
    return Uint32Array.from({ length: this.#pages }, (_, page) => this.#words[page * WORDS_PER_PAGE + 1]!);
  }

  /**
   * Writes the next `count` pages, in an order that is spread over the whole memory and the same in every run.
   *
   * @returns the number of a page that did not hold what it must, or undefined.
   */
  touch(count: number): number | undefined {
    let damaged: number | undefined;
    for (let done = 0; done < count; done++) {
      // Multiplying the running number by the golden ratio scatters it evenly (Knuth, TAOCP 6.4).
      const scattered = Math.imul(this.#next, GOLDEN_RATIO) >>> 0;
      const page = Math.floor((scattered / 2 ** 32) * this.#pages);
      this.#next = (this.#next + 1) >>> 0;
      const first = page * WORDS_PER_PAGE;
      if (this.#words[first] !== tagOf(page)) damaged = page;
      this.#words[first + 1]!++;
    }
    return damaged;
  }
}
