/** A kernel's side of userfaultfd and a connection to the source, in memory, for tests of the fault service. */
import assert from 'node:assert/strict';
import type { FaultMessage } from '../linux/userfaultfd.ts';
import type { Purpose, Refusal, Space } from './fault-service.ts';
import { addressOfPage, PAGE_BYTES, type PageRun } from './page-range.ts';

/** A number from 0 to below `limit`. */
export type Random = (limit: number) => number;

/** Areas end at multiples of so many pages. */
const AREA_PAGES = 8;

/** What stands in a page of the source: never 0, which is a zero page. */
export const contentOf = (source: number): number => source + 1;

type Event = { readonly message: Exclude<FaultMessage, { event: 'fault' }>; readonly whenRead: () => void };

let nextDescriptor = 0;

/** A process with an address space of pages. Every page that it sees is compared with what it must see. */
export class FakeProcess implements Space {
  readonly #random: Random;
  /** What the process must see, for each page that it has: the contents, or 0 for zeros. */
  readonly expected: Map<number, number>;
  readonly present = new Map<number, number>();
  /** Threads that wait, by page. */
  readonly waiting = new Set<number>();
  #faults: number[] = [];
  #events: Event[] = [];
  /** Calls that the kernel still refuses when an event has been read: the thread that caused it has not run yet. */
  #settling = 0;
  /** Reads in which an event is not to be had yet. */
  #untold = 1;
  readonly children: FakeProcess[] = [];
  /** Of its userfaultfd, which its parent's service is told. */
  readonly descriptor = nextDescriptor++;
  ended = false;

  constructor(expected: ReadonlyMap<number, number>, random: Random) {
    this.expected = new Map(expected);
    this.#random = random;
  }

  get isChanging(): boolean {
    return this.#events.length > 0;
  }

  /** A thread uses a page. */
  touch(page: number): void {
    if (this.ended || !this.expected.has(page) || this.waiting.has(page)) return;
    if (this.present.has(page)) this.#see(page);
    else {
      this.waiting.add(page);
      this.#faults.push(page);
    }
  }

  #see(page: number): void {
    assert.equal(this.present.get(page), this.expected.get(page), `page ${page} has other contents`);
  }

  /** madvise: the kernel tells first and throws away then. */
  remove(start: number, end: number): void {
    this.#events.push({
      message: { event: 'remove', start: addressOfPage(start), end: addressOfPage(end) },
      whenRead: () => {
        for (let page = start; page < end; page++) {
          this.present.delete(page);
          if (this.expected.has(page)) this.expected.set(page, 0);
        }
      },
    });
  }

  /** munmap: the kernel tells when it is done. */
  unmap(start: number, end: number): void {
    for (let page = start; page < end; page++) {
      this.present.delete(page);
      this.expected.delete(page);
    }
    this.#events.push({
      message: { event: 'unmap', start: addressOfPage(start), end: addressOfPage(end) },
      whenRead: () => undefined,
    });
  }

  /** mremap to a fixed address. */
  move(from: number, to: number, count: number): void {
    this.#remap(from, to, count);
    this.unmap(from, from + count);
  }

  /** The same with MREMAP_DONTUNMAP: the old place stays, empty. */
  moveContents(from: number, to: number, count: number): void {
    this.#remap(from, to, count);
    for (let page = from; page < from + count; page++) {
      this.present.delete(page);
      this.expected.set(page, 0);
    }
  }

  /** What was there goes first. */
  #remap(from: number, to: number, count: number): void {
    this.unmap(to, to + count);
    for (let index = 0; index < count; index++) {
      const [page, target] = [from + index, to + index];
      if (this.expected.has(page)) this.expected.set(target, this.expected.get(page)!);
      if (this.present.has(page)) this.present.set(target, this.present.get(page)!);
    }
    const [length, none] = [addressOfPage(count), (): void => undefined];
    this.#events.push({
      message: { event: 'remap', from: addressOfPage(from), to: addressOfPage(to), length },
      whenRead: none,
    });
  }

  fork(): void {
    const child = new FakeProcess(this.expected, this.#random);
    for (const [page, content] of this.present) child.present.set(page, content);
    this.children.push(child);
    this.#events.push({ message: { event: 'fork', descriptor: child.descriptor }, whenRead: () => undefined });
  }

  read(): readonly FaultMessage[] {
    const messages: FaultMessage[] = [];
    const most = 1 + this.#random(4);
    while (messages.length < most) {
      // The kernel hands faults out before events, also before those that happened earlier.
      const page = this.#faults.shift();
      if (page !== undefined) {
        messages.push({ event: 'fault', address: addressOfPage(page), write: false, protected: false, tid: 0 });
        continue;
      }
      // The memory has changed already, and the thread that changed it has not come to tell it.
      if (this.#events.length > 0 && this.#untold > 0) {
        this.#untold--;
        break;
      }
      const event = this.#events.shift();
      if (event === undefined) break;
      this.#untold = this.#random(3);
      event.whenRead();
      this.#settling = this.#random(3);
      messages.push(event.message);
    }
    return messages;
  }

  #refuses(): Refusal | undefined {
    if (this.#events.length > 0) return 'again';
    if (this.#settling === 0) return undefined;
    this.#settling--;
    return 'again';
  }

  #put(page: number, count: number, contents: (index: number) => number): number | Refusal {
    if (this.ended) return 'ended';
    // The kernel looks for the area first, and only then whether an event waits.
    if (Math.floor(page / AREA_PAGES) !== Math.floor((page + count - 1) / AREA_PAGES)) return 'gone';
    if (!this.expected.has(page)) return 'gone';
    const refused = this.#refuses();
    if (refused !== undefined) return refused;
    let done = 0;
    const most = 1 + this.#random(count);
    for (; done < most; done++) {
      const at = page + done;
      const problem = this.expected.has(at) ? (this.present.has(at) ? 'exists' : undefined) : 'gone';
      if (problem !== undefined) return done > 0 ? done : problem;
      this.present.set(at, contents(done));
      if (this.waiting.delete(at)) this.#see(at);
    }
    return done;
  }

  copy(page: number, bytes: Uint8Array): number | Refusal {
    const words = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return this.#put(page, bytes.length / PAGE_BYTES, (index) => words.readUInt32LE(index * PAGE_BYTES));
  }

  zero(page: number, count: number): number | Refusal {
    return this.#put(page, count, () => 0);
  }

  wake(page: number, count: number): void {
    for (let at = page; at < page + count; at++) {
      if (!this.waiting.delete(at)) continue;
      // Without such memory the thread gets its SIGSEGV.
      this.touch(at);
    }
  }
}

/** A source and the two connections to it, which deliver when told to. */
export class FakeLines {
  readonly connected: Record<Purpose, boolean> = { faults: false, fill: false };
  readonly #asked: Record<Purpose, (readonly PageRun[])[]> = { faults: [], fill: [] };
  requests = 0;

  ask(purpose: Purpose, runs: readonly PageRun[]): boolean {
    if (!this.connected[purpose]) return false;
    this.#asked[purpose].push(runs);
    this.requests++;
    return true;
  }

  /** The next answer, in parts as a page server sends it. @param keep it comes once more later. */
  answers(purpose: Purpose, keep: boolean): { runs: readonly PageRun[]; bytes: Buffer }[] {
    const runs = this.#asked[purpose].shift();
    if (runs === undefined) return [];
    if (keep) this.#asked[purpose].push(runs);
    const parts = purpose === 'fill' ? [runs] : [runs.slice(0, 1), runs.slice(1)].filter((part) => part.length > 0);
    return parts.map((part) => ({ runs: part, bytes: pagesOf(part) }));
  }

  cut(purpose: Purpose): void {
    this.connected[purpose] = false;
    this.#asked[purpose] = [];
  }
}

function pagesOf(runs: readonly PageRun[]): Buffer {
  const pages = runs.flatMap(({ page, count }) => Array.from({ length: count }, (_, index) => page + index));
  const bytes = Buffer.alloc(pages.length * PAGE_BYTES);
  for (const [index, page] of pages.entries()) bytes.writeUInt32LE(contentOf(page), index * PAGE_BYTES);
  return bytes;
}
