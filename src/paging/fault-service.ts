/**
 * Brings missing pages into a process that runs: those that it touches at once, the others in the background.
 *
 *              a thread touches        ask (faults)              arrived
 *     missing ─────────────────► waiting ─────────► on its way ─────────► there
 *        │                          └── it never had contents: zero page ──►│
 *        │  fill: nothing else is asked for                                 │
 *        ├──────────────────────────────────────► on its way ──────────────►│
 *        └── the process throws it away, or unmaps it ──► not missing: when touched again, a zero page
 *
 * What is missing is the only truth ({@link MissingPages}): an answer that comes late, twice or for what has been thrown
 * away in the meantime finds nothing missing and is dropped. When a connection breaks, what was on its way is missing
 * again and is asked for again. The contents at the source do not change, so any answer is as good as any other.
 *
 * The kernel hands out faults before events that happened earlier, but refuses to put a page (EAGAIN) while an event
 * waits to be read: then events are read and what is to be put where is decided anew. Where it finds no memory (ENOENT) it
 * says that first: it may have been moved, by a thread that has not told it yet. Such pages are *doubtful*: missing again
 * with the next event, and gone when none has come for a while.
 *
 * Pure: the kernel, the connections and the clock are ports.
 */
import { defined } from '../base/assert.ts';
import type { FaultMessage } from '../linux/userfaultfd.ts';
import { FillOrder } from './fill-order.ts';
import type { MissingPages, MissingRun } from './missing-pages.ts';
import { PAGE_BYTES, type PageRun, pageOf } from './page-range.ts';
import { type ServiceCounts, ServiceTimes } from './service-times.ts';

/**
 * Why a page was not put: `exists` one is there already; `again` an event has to be read first; `gone` the process has no
 * such memory; `ended` it has ended.
 */
export type Refusal = 'exists' | 'again' | 'gone' | 'ended';

/** An address space with missing pages: a userfaultfd. */
export interface Space {
  /** What waits to be read; empty: nothing. Events stand in their order. */
  read(): readonly FaultMessage[];
  /** @returns how many pages were put, at least one. */
  copy(page: number, bytes: Uint8Array): number | Refusal;
  zero(page: number, count: number): number | Refusal;
  /** Lets threads that wait for pages look again. */
  wake(page: number, count: number): void;
}

export type Purpose = 'faults' | 'fill';

export type FaultServicePorts = {
  /**
   * Asks the source for pages. On `faults` the first run is what somebody waits for.
   * @returns false: there is no connection; {@link FaultService.connected} comes when there is one.
   */
  readonly ask: (purpose: Purpose, runs: readonly PageRun[]) => boolean;
  /** A child of the process, with all pages missing that were missing in its parent. */
  readonly childSpace: (descriptor: number, missing: MissingPages) => Space;
  /** The process of a space has ended: nothing more is done with it. */
  readonly ended: (space: Space) => void;
  readonly nowMicros: () => number;
};

export type FaultServiceOptions = {
  /** Pages that come along with one that is waited for: first so many, and up to so many when faults go on in order. */
  readonly cluster: { readonly min: number; readonly max: number };
  /** Pages of one request of the background fill. */
  readonly fillChunk: number;
  /** Pages of the fill that may be on their way, so that a fault is not behind more. */
  readonly fillWindow: number;
  /** Pages, in the order in which they are likely to be needed, before all others. */
  readonly likely: readonly PageRun[];
};

const DEFAULT_OPTIONS: FaultServiceOptions = {
  cluster: { min: 4, max: 16 },
  fillChunk: 16,
  fillWindow: 96,
  likely: [],
};

type Waiting = { readonly sinceMicros: number; asked: boolean };

type Served = {
  readonly space: Space;
  readonly missing: MissingPages;
  /** Pages that threads wait for. */
  readonly waiting: Map<number, Waiting>;
  /** Pages for which there was no memory. */
  doubtful: (MissingRun & { readonly sinceMicros: number })[];
  /** Its space is not to be used any more. */
  hasEnded: boolean;
};

type Arrival = { readonly purpose: Purpose; readonly source: number; readonly bytes: Uint8Array };

/** So long after a fault more are likely, and the fill has only one request on its way. */
const BUSY_MICROS = 2_000;
/** A thread that has changed the memory of its process tells it within microseconds, unless it is kept from running. */
const DOUBT_MICROS = 1_000_000;
/** Zero pages that come along with one: reservations are touched in order. */
const ZERO_CLUSTER = 16;

export class FaultService {
  readonly #ports: FaultServicePorts;
  readonly #options: FaultServiceOptions;
  readonly #order: FillOrder;
  readonly #times = new ServiceTimes();
  readonly #lines: Record<Purpose, boolean> = { faults: false, fill: false };
  #served: Served[];
  /** What has come and could not be put yet. */
  #deferred: Arrival[] = [];
  #fillOnTheWay = 0;
  #lastFaultMicros = Number.NEGATIVE_INFINITY;
  #lastCluster = { end: -1, pages: 0 };

  constructor(
    space: Space,
    missing: MissingPages,
    ports: FaultServicePorts,
    options: Partial<FaultServiceOptions> = {},
  ) {
    this.#ports = ports;
    this.#options = { ...DEFAULT_OPTIONS, ...options };
    this.#order = new FillOrder(this.#options.likely);
    this.#served = [makeServed(space, missing)];
  }

  /** Another space to serve: a child that an earlier service has had. */
  add(space: Space, missing: MissingPages): void {
    this.#served.push(makeServed(space, missing));
  }

  /** Nothing is missing. Threads may still touch memory that never had contents, until the spaces are closed. */
  get isComplete(): boolean {
    if (this.#deferred.length > 0) return false;
    return this.#served.every(({ missing, doubtful }) => missing.count === 0 && doubtful.length === 0);
  }

  /** Every process has ended. */
  get hasEnded(): boolean {
    return this.#served.length === 0;
  }

  /** Something could not be done that is to be tried again soon, also when nothing new comes. */
  get mustRetry(): boolean {
    return this.#deferred.length > 0 || this.#served.some(({ waiting }) => anyUnasked(waiting) && this.#lines.faults);
  }

  /** A thread waits for a page that has been asked for. */
  get isAwaited(): boolean {
    return this.#served.some(({ waiting }) => waiting.size > 0);
  }

  get missingPages(): number {
    return this.#served.reduce((sum, { missing }) => sum + missing.count, 0);
  }

  /** Faults that have been told so far. */
  get faults(): number {
    return this.#times.faults;
  }

  counts(): ServiceCounts {
    return this.#times.counts();
  }

  /** Reads what the kernel has to say, and serves faults as far as that is possible without an answer. */
  poll(): void {
    for (const served of this.#served) this.#read(served);
    this.#retry();
    for (const served of this.#served) {
      this.#serve(served);
      if (served.doubtful.length === 0) continue;
      const oldest = this.#ports.nowMicros() - DOUBT_MICROS;
      served.doubtful = served.doubtful.filter(({ sinceMicros }) => sinceMicros > oldest);
    }
  }

  #read(served: Served): void {
    for (let messages = served.space.read(); messages.length > 0; messages = served.space.read())
      for (const message of messages) this.#take(served, message);
  }

  #take(served: Served, message: FaultMessage): void {
    const { missing, waiting, space } = served;
    if (message.event !== 'fault') believe(served);
    switch (message.event) {
      case 'fault': {
        const page = pageOf(message.address);
        this.#times.fault();
        this.#lastFaultMicros = this.#ports.nowMicros();
        if (!waiting.has(page)) waiting.set(page, { sinceMicros: this.#lastFaultMicros, asked: false });
        break;
      }
      case 'fork':
        this.#served.push(makeServed(this.#ports.childSpace(message.descriptor, missing), missing.clone()));
        break;
      case 'remap': {
        const [from, to, count] = [pageOf(message.from), pageOf(message.to), pageOf(message.length)];
        missing.move(from, to, count);
        release(space, waiting, from, from + count);
        break;
      }
      default: {
        const [start, end] = [pageOf(message.start), pageOf(message.end)];
        missing.remove(start, end);
        release(space, waiting, start, end);
      }
    }
  }

  /** Tries again to put what has come while an event waited. */
  #retry(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const { purpose, source, bytes } of deferred) this.#put(purpose, source, bytes);
  }

  #serve(served: Served): void {
    for (const [page, state] of served.waiting) {
      if (state.asked) continue;
      if (served.doubtful.some((run) => run.page === page)) believe(served);
      const source = served.missing.sourceOf(page);
      if (source === undefined) this.#serveZero(served, page);
      else this.#askFor(served, page, source, state);
    }
  }

  #serveZero(served: Served, page: number): void {
    const { space, missing, waiting } = served;
    let put = space.zero(page, missing.gap(page, ZERO_CLUSTER));
    // The area may end before the cluster does.
    if (put === 'gone') put = space.zero(page, 1);
    if (put === 'again') return;
    if (put === 'ended') {
      this.#end(served);
      return;
    }
    if (typeof put === 'number') this.#settle(served, page, put, 'zero');
    else {
      waiting.delete(page);
      space.wake(page, 1);
    }
  }

  #askFor({ missing }: Served, page: number, source: number, state: Waiting): void {
    if (!this.#lines.faults) return;
    const { min, max } = this.#options.cluster;
    const last = this.#lastCluster;
    // In order: twice as many as last time, up to the bound.
    const pages = page === last.end ? Math.min(max, last.pages * 2) : min;
    const from = page === last.end ? page : page - (page % pages);
    const { before, behind } = missing.around(page, from, from + pages);
    this.#lastCluster = { end: behind.page + behind.count, pages };
    this.#order.touched(behind.page + behind.count);
    const runs: PageRun[] = [{ page: source, count: 1 }];
    for (const { source: start, count } of [behind, before]) if (count > 0) runs.push({ page: start, count });
    state.asked = this.#ports.ask('faults', runs);
  }

  /** Pages have come. @param bytes the caller's again afterwards. */
  arrived(purpose: Purpose, runs: readonly PageRun[], bytes: Uint8Array): void {
    let done = 0;
    for (const { page, count } of runs) {
      if (purpose === 'fill') this.#fillOnTheWay = Math.max(0, this.#fillOnTheWay - count);
      this.#put(purpose, page, bytes.subarray(done, done + count * PAGE_BYTES));
      done += count * PAGE_BYTES;
    }
  }

  /** Puts the pages that are at [source, …) there to where they are missing here. */
  #put(purpose: Purpose, source: number, bytes: Uint8Array): void {
    for (const served of this.#served)
      for (const run of served.missing.whereSource(source, bytes.length / PAGE_BYTES)) {
        if (served.hasEnded) break;
        const offset = (run.source - source) * PAGE_BYTES;
        const part = bytes.subarray(offset, offset + run.count * PAGE_BYTES);
        if (!this.#putRun(served, purpose, run.page, part)) {
          // Looked up anew by its source: an event that waits may have moved it.
          this.#deferred.push({ purpose, source: run.source, bytes: Buffer.from(part) });
        }
      }
  }

  /** @returns false: not now. */
  #putRun(served: Served, purpose: Purpose, page: number, bytes: Uint8Array): boolean {
    const { space, missing, waiting } = served;
    for (let done = 0, most = bytes.length; done < bytes.length; ) {
      const at = page + done / PAGE_BYTES;
      const put = space.copy(at, bytes.subarray(done, Math.min(done + most, bytes.length)));
      if (put === 'again') return false;
      if (put === 'ended') {
        this.#end(served);
        return true;
      }
      if (put === 'gone' && most > PAGE_BYTES && bytes.length - done > PAGE_BYTES) {
        // It may reach over the border of two areas, which one call must not.
        most = Math.ceil(Math.min(most, bytes.length - done) / PAGE_BYTES / 2) * PAGE_BYTES;
        continue;
      }
      if (typeof put === 'number') {
        missing.remove(at, at + put);
        this.#settle(served, at, put, purpose);
        done += put * PAGE_BYTES;
      } else if (put === 'gone') {
        this.#doubt(served, at);
        done += PAGE_BYTES;
      } else {
        missing.remove(at, at + 1);
        if (waiting.delete(at)) space.wake(at, 1);
        done += PAGE_BYTES;
      }
    }
    return true;
  }

  #doubt({ space, missing, waiting, doubtful }: Served, page: number): void {
    const source = defined(missing.sourceOf(page), 'the source of a missing page');
    missing.remove(page, page + 1);
    doubtful.push({ page, count: 1, source, sinceMicros: this.#ports.nowMicros() });
    // Whoever waits asks again, should there be memory after all.
    if (waiting.delete(page)) space.wake(page, 1);
  }

  /** Pages are there: whoever waited for them goes on. */
  #settle({ waiting }: Served, page: number, count: number, what: Purpose | 'zero'): void {
    if (what === 'fill') this.#times.filled(count);
    else if (what === 'faults') this.#times.brought(count);
    if (waiting.size === 0) return;
    for (let at = page; at < page + count; at++) {
      const state = waiting.get(at);
      if (state === undefined) continue;
      waiting.delete(at);
      this.#times.served(what === 'zero' ? 'zero' : 'page', this.#ports.nowMicros() - state.sinceMicros);
    }
  }

  #end(served: Served): void {
    if (served.hasEnded) return;
    served.hasEnded = true;
    this.#served = this.#served.filter((other) => other !== served);
    served.missing.remove(0, Number.MAX_SAFE_INTEGER);
    served.doubtful = [];
    served.waiting.clear();
    this.#ports.ended(served.space);
  }

  /** What is missing of a space is to be told to a successor: that includes what is doubtful. */
  believe(space: Space): void {
    for (const served of this.#served) if (served.space === space) believe(served);
  }

  /** The process of a space has ended: nobody misses anything there. */
  ended(space: Space): void {
    const served = this.#served.find((each) => each.space === space);
    if (served !== undefined) this.#end(served);
  }

  /** A connection is there. */
  connected(purpose: Purpose): void {
    this.#lines[purpose] = true;
  }

  /** What was on its way over a connection will not come. */
  disconnected(purpose: Purpose): void {
    this.#lines[purpose] = false;
    if (purpose === 'faults') {
      for (const { waiting } of this.#served) for (const state of waiting.values()) state.asked = false;
      return;
    }
    this.#fillOnTheWay = 0;
    this.#order.restart();
    for (const { missing } of this.#served) missing.forgetRequests();
  }

  /** Asks for what nobody waits for, as far as there is room for it on its way. */
  fill(): void {
    const { fillChunk, fillWindow } = this.#options;
    const isBusy = this.#ports.nowMicros() - this.#lastFaultMicros < BUSY_MICROS;
    const window = isBusy ? Math.min(fillChunk, fillWindow) : fillWindow;
    while (this.#lines.fill && this.#deferred.length === 0 && this.#fillOnTheWay + fillChunk <= window) {
      const runs = this.#order.next(
        this.#served.map(({ missing }) => missing),
        fillChunk,
      );
      if (runs.length === 0 || !this.#ports.ask('fill', runs)) return;
      for (const { count } of runs) this.#fillOnTheWay += count;
    }
  }
}

function makeServed(space: Space, missing: MissingPages): Served {
  return { space, missing, waiting: new Map(), doubtful: [], hasEnded: false };
}

/** What was doubtful is missing: the process has it, or had it before an event that says where it has gone. */
function believe(served: Served): void {
  for (const run of served.doubtful) served.missing.add(run);
  served.doubtful = [];
}

function anyUnasked(waiting: ReadonlyMap<number, Waiting>): boolean {
  for (const { asked } of waiting.values()) if (!asked) return true;
  return false;
}

/** Those who wait for pages that are not there any more look again: they fault anew, or fail as they should. */
function release(space: Space, waiting: Map<number, Waiting>, start: number, end: number): void {
  for (const page of waiting.keys()) {
    if (page < start || page >= end) continue;
    waiting.delete(page);
    space.wake(page, 1);
  }
}
