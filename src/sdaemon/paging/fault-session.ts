/** The destination's end of paging for one process: its userfaultfds, and the two connections to the page server. */
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { unreachable } from '../../base/assert.ts';
import { ComicranError, type ErrorCode, isErrorCode } from '../../base/errors.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { awaitExit, closeDescriptor, openPidfd } from '../../linux/pidfd.ts';
import type { TcpAddress } from '../../linux/tcp.ts';
import { decodeSourceMessage, encodeMessage } from '../../paging/codec.ts';
import { EventJournal, readJournal } from '../../paging/event-journal.ts';
import { FaultService, type FaultServiceOptions, type Purpose, type Space } from '../../paging/fault-service.ts';
import { type DestinationMessage, MAX_MESSAGE_BYTES, PROTOCOL_VERSION } from '../../paging/messages.ts';
import { MissingPages } from '../../paging/missing-pages.ts';
import type { PageRun } from '../../paging/page-range.ts';
import type { ServiceCounts } from '../../paging/service-times.ts';
import { UserfaultSpace } from '../../paging/userfault-space.ts';
import { connectToPeer } from '../channel/establish.ts';
import type { Readiness, Watched } from '../readiness.ts';
import { BriefWait } from './brief-wait.ts';
import { FrameLine } from './frame-line.ts';

/** Where the page server listens, and the key of both connections (32 bytes). */
export type PageServerAddress = TcpAddress & { readonly key: Uint8Array };

/** A userfaultfd and the file that keeps what it has told. */
export type KeptSpace = { readonly descriptor: number; readonly journal: string };

export type FaultSessionOptions = {
  readonly server: PageServerAddress;
  /** Of the process; it is this session's from now on. */
  readonly userfault: number;
  /** The process: its end is noticed at once. Absent: when the next page is put. */
  readonly pid?: number;
  /** A file; where `missing` is undefined the one that an earlier session has left. */
  readonly journal: string;
  /** What is missing at the start; undefined: it stands in the journal of an earlier session, which was killed. */
  readonly missing: readonly PageRun[] | undefined;
  /** Only what somebody waits for is fetched, until {@link FaultSession.fill}. */
  readonly fillsLater?: boolean;
  /** Of an earlier session: children of the process. */
  readonly children?: readonly KeptSpace[];
  readonly service?: Partial<FaultServiceOptions>;
};

export type FaultSessionCalls = {
  /** The process has made a child, which has a userfaultfd of its own. To be kept by whoever keeps the others. */
  readonly onChild: (child: KeptSpace) => void;
  /** A child has ended; its userfaultfd is closed here, and need not be kept. */
  readonly onChildEnded: (journal: string) => void;
  /** Nothing is missing any more; touches of memory that never had contents are served until {@link FaultSession.close}. */
  readonly onComplete: (counts: ServiceCounts) => void;
  /** The source cannot bring what is missing, now or ever. The process waits. */
  readonly onRefused: (error: ComicranError) => void;
  /** A connection broke or could not be made; it is tried again. */
  readonly onTrouble: (error: unknown) => void;
};

const PURPOSES: readonly Purpose[] = ['faults', 'fill'];
const CONNECT_MS = 3_000;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 500;
const IDLE_MS = 1_000;
const RETRY_MS = 0.1;

const nowMicros = (): number => performance.now() * 1000;

export class FaultSession {
  readonly #options: FaultSessionOptions;
  readonly #calls: FaultSessionCalls;
  readonly #readiness: Readiness;
  readonly #service: FaultService;
  /** With their journals. The process itself is the first. */
  readonly #spaces = new Map<UserfaultSpace, string>();
  readonly #own: UserfaultSpace;
  readonly #end = Promise.withResolvers<void>();
  #children = 0;
  readonly #lines: Partial<Record<Purpose, FrameLine>> = {};
  readonly #broken: Partial<Record<Purpose, () => void>> = {};
  readonly #brief = new BriefWait();
  /** Of the process; -1: not known, or it has ended. */
  #pidfd: number;
  #server: PageServerAddress;
  #closed = false;
  #refused = false;
  #complete = false;
  #fills: boolean;

  constructor(options: FaultSessionOptions, calls: FaultSessionCalls, readiness: Readiness) {
    this.#options = options;
    this.#calls = calls;
    this.#readiness = readiness;
    this.#server = options.server;
    this.#fills = options.fillsLater !== true;
    this.#pidfd = options.pid === undefined ? -1 : openPidfd(options.pid);
    const ports = {
      ask: (purpose: Purpose, runs: readonly PageRun[]) => this.#send(purpose, { type: 'WANT', runs }),
      childSpace: (descriptor: number, missing: MissingPages) => this.#childSpace(descriptor, missing),
      ended: (space: Space) => this.#spaceEnded(space as UserfaultSpace),
      nowMicros,
    };
    const { userfault, journal, missing } = options;
    const own = missing === undefined ? readJournal(journal) : MissingPages.at(missing);
    this.#own = this.#space(userfault, journal, own);
    this.#service = new FaultService(this.#own, own, ports, options.service);
    for (const child of options.children ?? []) {
      const left = readJournal(child.journal);
      this.#service.add(this.#space(child.descriptor, child.journal, left), left);
    }
    // What the earlier session had read of faults is not told again by itself.
    if (missing === undefined) for (const space of this.#spaces.keys()) space.wakeAll();
  }

  #space(descriptor: number, journal: string, missing: MissingPages): UserfaultSpace {
    let begun: UserfaultSpace | undefined;
    const whatIsMissing = (): MissingPages => {
      if (begun !== undefined) this.#service.believe(begun);
      return missing;
    };
    const space = new UserfaultSpace(descriptor, new EventJournal(journal, whatIsMissing));
    begun = space;
    this.#spaces.set(space, journal);
    return space;
  }

  #childSpace(descriptor: number, missing: MissingPages): UserfaultSpace {
    const journal = `${this.#options.journal}.${++this.#children}-${randomInt(1 << 30).toString(36)}`;
    const space = this.#space(descriptor, journal, missing);
    this.#calls.onChild({ descriptor, journal });
    return space;
  }

  #spaceEnded(space: UserfaultSpace): void {
    const journal = this.#spaces.get(space);
    if (space === this.#own || journal === undefined) return;
    this.#spaces.delete(space);
    this.#closeSpace(space, journal);
    this.#calls.onChildEnded(journal);
  }

  #closeSpace(space: UserfaultSpace, journal: string): void {
    this.#readiness.forget(space.descriptor);
    space.close();
    if (this.#complete || space !== this.#own || this.#service.hasEnded) rmSync(journal, { force: true });
  }

  /** When its descriptors are closed. */
  get closed(): Promise<void> {
    return this.#end.promise;
  }

  counts(): ServiceCounts & { readonly missingPages: number } {
    return { ...this.#service.counts(), missingPages: this.#service.missingPages };
  }

  /** What nobody waits for is fetched as well, from now on. */
  fill(): void {
    this.#fills = true;
    // The thread may be waiting for what this session waits for.
    this.#readiness.forget(this.#own.descriptor);
  }

  /** The page server is somewhere else now: another daemon has taken it over. */
  redirect(server: PageServerAddress): void {
    this.#server = server;
    this.#refused = false;
    for (const purpose of PURPOSES) this.#disconnect(purpose);
  }

  /** Serves until {@link close}, or until every process has ended. Where it throws, the userfaultfds are open still. */
  async run(): Promise<void> {
    const connecting = PURPOSES.map((purpose) => this.#keepConnected(purpose));
    try {
      while (!this.#closed && !this.#service.hasEnded) {
        if (this.#step()) this.#brief.came();
        else await this.#wait();
        if (this.#readiness.turnDue) await this.#readiness.turn();
      }
      this.close();
      await Promise.all(connecting);
    } catch (thrown) {
      // Who waits for a page for ever can be ended; who had read zeros in its place would be wrong.
      this.#refused = true;
      for (const purpose of PURPOSES) this.#disconnect(purpose);
      throw thrown;
    }
  }

  async #wait(): Promise<void> {
    const watched: Watched[] = Array.from(this.#spaces.keys(), ({ descriptor }) => ({ descriptor, events: POLL.IN }));
    if (this.#pidfd >= 0) {
      if (awaitExit(this.#pidfd, 0)) {
        this.#closePidfd();
        this.#service.ended(this.#own);
        return;
      }
      watched.push({ descriptor: this.#pidfd, events: POLL.IN });
    }
    for (const purpose of PURPOSES) {
      const line = this.#lines[purpose];
      if (line === undefined) continue;
      watched.push(line.watched);
    }
    if (!this.#service.mustRetry && this.#brief.wait(watched, this.#service.isAwaited)) return;
    await this.#readiness.waitAny(watched, this.#service.mustRetry ? RETRY_MS : IDLE_MS);
  }

  #closePidfd(): void {
    if (this.#pidfd < 0) return;
    this.#readiness.forget(this.#pidfd);
    closeDescriptor(this.#pidfd);
    this.#pidfd = -1;
  }

  /** @returns whether anything came. */
  #step(): boolean {
    const before = this.#service.faults;
    this.#service.poll();
    let busy = this.#service.faults > before;
    busy = this.#receive('faults', Number.POSITIVE_INFINITY) || busy;
    // One at a time: in between somebody may have begun to wait.
    busy = this.#receive('fill', 1) || busy;
    if (this.#fills) this.#service.fill();
    for (const purpose of PURPOSES) this.#onLine(purpose, (line) => line.flush());
    if (!this.#complete && this.#service.isComplete && !this.#service.hasEnded) {
      this.#complete = true;
      this.#send('faults', { type: 'DONE' });
      this.#calls.onComplete(this.#service.counts());
    }
    return busy;
  }

  #receive(purpose: Purpose, most: number): boolean {
    let count = 0;
    this.#onLine(purpose, (line) => {
      for (; count < most && !line.isClosed; count++) {
        const bytes = line.receive();
        if (bytes === undefined) return;
        this.#take(purpose, bytes);
      }
    });
    return count > 0;
  }

  #take(purpose: Purpose, bytes: Buffer): void {
    const message = decodeSourceMessage(bytes);
    switch (message.type) {
      case 'OPENED':
        if (message.version !== PROTOCOL_VERSION)
          throw new ComicranError('peer.protocol', `the page server speaks version ${message.version} of paging`);
        this.#service.connected(purpose);
        if (this.#complete) this.#send(purpose, { type: 'DONE' });
        break;
      case 'PAGES':
        this.#service.arrived(purpose, message.runs, message.bytes);
        break;
      case 'REFUSED': {
        const code: ErrorCode = isErrorCode(message.code) ? message.code : 'peer.refused';
        this.#refused = true;
        this.#calls.onRefused(new ComicranError(code, message.message));
        this.#disconnect('faults');
        this.#disconnect('fill');
        break;
      }
      default:
        unreachable(message);
    }
  }

  #send(purpose: Purpose, message: DestinationMessage): boolean {
    if (this.#lines[purpose] === undefined) return false;
    this.#onLine(purpose, (line) => line.send(encodeMessage(message)));
    return this.#lines[purpose] !== undefined;
  }

  /** Works with a connection, if it is there; it is not afterwards when it broke. */
  #onLine(purpose: Purpose, run: (line: FrameLine) => void): void {
    const line = this.#lines[purpose];
    if (line === undefined) return;
    try {
      run(line);
    } catch (thrown) {
      if (!(thrown instanceof ComicranError)) throw thrown;
      this.#calls.onTrouble(thrown);
      if (this.#lines[purpose] === line) this.#disconnect(purpose);
    }
  }

  #disconnect(purpose: Purpose): void {
    const line = this.#lines[purpose];
    if (line === undefined) return;
    delete this.#lines[purpose];
    this.#readiness.forget(line.watched.descriptor);
    line.close();
    this.#service.disconnected(purpose);
    this.#broken[purpose]?.();
  }

  async #keepConnected(purpose: Purpose): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#closed) {
      if (!this.#refused) {
        try {
          await this.#connect(purpose);
          pauseMs = FIRST_PAUSE_MS;
        } catch (thrown) {
          if (!(thrown instanceof ComicranError)) throw thrown;
          this.#calls.onTrouble(thrown);
        }
      }
      if (this.#closed) return;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Resolves when a connection that was made has gone. */
  async #connect(purpose: Purpose): Promise<void> {
    const { key, address, port } = this.#server;
    const options = { key, maxMessageBytes: MAX_MESSAGE_BYTES, readiness: this.#readiness };
    const connection = await connectToPeer({ address, port }, CONNECT_MS, options);
    const line = new FrameLine(connection, MAX_MESSAGE_BYTES);
    if (this.#closed) {
      line.close();
      return;
    }
    const gone = new Promise<void>((resolve) => {
      this.#broken[purpose] = resolve;
    });
    this.#lines[purpose] = line;
    this.#send(purpose, { type: 'OPEN', version: PROTOCOL_VERSION, purpose });
    // The thread waits for what it knew of.
    this.#readiness.forget(this.#own.descriptor);
    await gone;
  }

  /** Closes the userfaultfds and the connections. Where nobody else has the former, what is missing is zeros now. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const purpose of PURPOSES) this.#disconnect(purpose);
    this.#closePidfd();
    for (const [space, journal] of this.#spaces) this.#closeSpace(space, journal);
    this.#end.resolve();
  }
}
