/** One connection of a page server: answers what is asked for, in order. Pure but for its reader. */
import { unreachable } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { type DestinationMessage, MAX_PAGES, type SourceMessage } from './messages.ts';
import { countPages, PAGE_BYTES, type PageRun } from './page-range.ts';
import type { PageReader } from './page-reader.ts';

/** So few pages take hardly longer than one; two frames for them would. */
const TOGETHER = 4;

/** Pages sent, over all connections of a server. */
export type ServedPages = { faulted: number; filled: number };

export type PageServerCalls = {
  /** The bytes of pages are the server's again when it returns. */
  readonly send: (message: SourceMessage) => void;
  /** The destination misses nothing any more. */
  readonly done: () => void;
  readonly version: number;
};

export class PageServer {
  readonly #reader: PageReader;
  readonly #served: ServedPages;
  readonly #calls: PageServerCalls;
  readonly #bytes = Buffer.allocUnsafeSlow(MAX_PAGES * PAGE_BYTES);
  #purpose: 'faults' | 'fill' | undefined;

  constructor(reader: PageReader, served: ServedPages, calls: PageServerCalls) {
    this.#reader = reader;
    this.#served = served;
    this.#calls = calls;
  }

  get purpose(): 'faults' | 'fill' | undefined {
    return this.#purpose;
  }

  /** @throws ComicranError peer.protocol; what the reader throws, when the destination has been told */
  take(message: DestinationMessage): void {
    switch (message.type) {
      case 'OPEN':
        if (this.#purpose !== undefined) throw new ComicranError('peer.protocol', 'a second OPEN on one connection');
        this.#purpose = message.purpose;
        this.#calls.send({ type: 'OPENED', version: this.#calls.version });
        break;
      case 'WANT':
        this.#answer(message.runs);
        break;
      case 'DONE':
        this.#calls.done();
        break;
      default:
        unreachable(message);
    }
  }

  #answer(runs: readonly PageRun[]): void {
    if (this.#purpose === undefined) throw new ComicranError('peer.protocol', 'WANT before OPEN');
    if (this.#purpose === 'fill') {
      this.#send(runs);
      this.#served.filled += countPages(runs);
      return;
    }
    // Somebody waits for the first: it does not wait for many others.
    if (countPages(runs) <= TOGETHER) this.#send(runs);
    else {
      this.#send(runs.slice(0, 1));
      if (runs.length > 1) this.#send(runs.slice(1));
    }
    this.#served.faulted += countPages(runs);
  }

  #send(runs: readonly PageRun[]): void {
    const bytes = this.#bytes.subarray(0, countPages(runs) * PAGE_BYTES);
    try {
      this.#reader.read(runs, bytes);
    } catch (thrown) {
      this.#calls.send({ type: 'REFUSED', code: 'process.gone', message: 'the source cannot read the pages any more' });
      throw thrown;
    }
    this.#calls.send({ type: 'PAGES', runs, bytes });
  }
}
