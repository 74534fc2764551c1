/**
 * Paging as the rest of the daemon uses it: sessions in a thread of their own, which any thread of the daemon can start.
 *
 *     main thread     thread = await PagingThread.start()       port = thread.newPort() ──► to a migration's thread
 *     any thread      client = new PagingClient(port)
 *     destination     client.startPaging({ userfault, missing, server, journal, keeper, … })
 *     source          client.servePages({ pid, listen })
 */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { ComicranError } from '../../base/errors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { signalWake } from '../../linux/wake.ts';
import type { FaultServiceOptions } from '../../paging/fault-service.ts';
import type { PageRun } from '../../paging/page-range.ts';
import type { ServedPages } from '../../paging/page-server.ts';
import type { ServiceCounts } from '../../paging/service-times.ts';
import { uncarry } from '../migration/carried-error.ts';
import type { KeptSpace, PageServerAddress } from './fault-session.ts';
import type { Keeper } from './keeper.ts';
import type { FromPaging, PagingEvent, PagingReady, SessionCounts, SetWake, ToPaging } from './paging-messages.ts';

const WORKER = new URL(import.meta.url.endsWith('.ts') ? './paging-worker.ts' : './paging-worker.js', import.meta.url);
const DROP_PAUSE_MS = 200;

/** A port to the paging thread, and the descriptor that ends its wait. Both can be given to another thread. */
export type PagingPort = { readonly port: MessagePort; readonly wake: number };

/** The thread. Sessions end with it, as if the program had been killed. */
export class PagingThread {
  readonly #worker: Worker;
  readonly #wake: number;

  private constructor(worker: Worker, wake: number) {
    this.#worker = worker;
    this.#wake = wake;
  }

  /** It takes a moment: to be done long before it is needed. */
  static async start(): Promise<PagingThread> {
    // Descriptors come from system calls, not from Node: it must not close or complain about them.
    const worker = new Worker(WORKER, { trackUnmanagedFds: false });
    worker.unref();
    const ready = await new Promise<PagingReady>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    return new PagingThread(worker, ready.wake);
  }

  /** For one client. The port is to be among the transferred objects when it goes to another thread. */
  newPort(): PagingPort {
    const { port1, port2 } = new MessageChannel();
    this.#worker.postMessage({ type: 'port', port: port1 }, [port1]);
    signalWake(this.#wake);
    return { port: port2, wake: this.#wake };
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
    closeDescriptor(this.#wake);
  }
}

export type PagingOptions = {
  readonly server: PageServerAddress;
  /** The process's userfaultfd (RestoringProcess.takeUserfault); the session's from now on. */
  readonly userfault: number;
  /** The process, as this program sees it: its end is noticed at once. */
  readonly pid?: number;
  /**
   * A file, in a directory that outlives the daemon; also the name under which the keeper has the userfaultfd. It goes when
   * nothing is missing any more.
   */
  readonly journal: string;
  /** What is missing: the lazy pages of the image (splitPages). */
  readonly missing: readonly PageRun[];
  /** Keeps the userfaultfds should this program be killed; undefined: nobody does. */
  readonly keeper?: Keeper;
  readonly service?: Partial<FaultServiceOptions>;
  /** Only what somebody waits for is fetched, until {@link Paging.fill}. */
  readonly fillsLater?: boolean;
  /** Everything is in, and the userfaultfds are closed everywhere. */
  readonly onDone: (counts: ServiceCounts) => void;
  /**
   * Nothing more will come: the source is gone (the session goes on, the process waits: {@link Paging.redirect} or end
   * it), or paging itself broke.
   */
  readonly onFailure: (error: Error) => void;
  /** Every process has ended before all pages were in. */
  readonly onEnded?: () => void;
  /** A connection broke or could not be made; it is tried again. */
  readonly onTrouble?: (error: Error) => void;
};

/** A session of an earlier daemon: {@link PagingOptions.missing} stands in the journal. */
export type AdoptOptions = Omit<PagingOptions, 'missing'> & { readonly children: readonly KeptSpace[] };

export type ServeOptions = {
  /** A process that does not run: stopped, or the clone of a snapshot. */
  readonly pid: number;
  readonly listen: PageServerAddress;
  /** The destination misses nothing any more: the process is not needed for that. */
  readonly onDone: () => void;
  readonly onFailure: (error: Error) => void;
};

export class PagingClient {
  readonly #port: MessagePort;
  readonly #wake: number;
  readonly #listeners = new Map<number, (event: PagingEvent) => void>();
  #nextId = 1;

  /** @param ownWake of a thread that blocks in poll(2): signalled behind each event, so that it need not wait for it. */
  constructor({ port, wake }: PagingPort, ownWake = -1) {
    this.#port = port;
    this.#wake = wake;
    if (ownWake >= 0) port.postMessage({ type: 'wake', wake: ownWake } satisfies SetWake);
    port.on('message', ({ id, event }: FromPaging) => this.#listeners.get(id)?.(event));
    port.unref();
  }

  /**
   * Begins to serve faults. When it has answered they are served, and the keeper has the userfaultfd: before that, the
   * process is not to be finished (RestoringProcess.finish), for from then on it outlives this program.
   */
  async startPaging(options: PagingOptions): Promise<Paging> {
    const paging = new Paging(this.#session(), options, options.missing, []);
    await paging.started;
    try {
      await options.keeper?.keep(options.journal, options.userfault);
    } catch (error) {
      await paging.close();
      throw error;
    }
    return paging;
  }

  /** Goes on where a daemon that was killed left off (keeper.ts: takeKept). @throws ComicranError migration.journal */
  async adoptPaging(options: AdoptOptions): Promise<Paging> {
    const paging = new Paging(this.#session(), options, undefined, options.children);
    await paging.started;
    return paging;
  }

  /** @returns when it listens. @throws ComicranError, KernelError EADDRINUSE */
  async servePages(options: ServeOptions): Promise<PageServing> {
    const session = this.#session();
    const { pid, listen } = options;
    const port = await new Promise<number>((resolve, reject) => {
      session.on((event) => {
        if (event.type === 'listening') resolve(event.port);
        else if (event.type === 'ended') reject(event.error === undefined ? new Error('ended') : uncarry(event.error));
      });
      session.tell({ type: 'pages', pid, listen });
    });
    return new PageServing(session, port, options);
  }

  #session(): SessionPort {
    const id = this.#nextId++;
    return {
      tell: (command) => {
        this.#port.postMessage({ id, command } satisfies ToPaging);
        signalWake(this.#wake);
      },
      on: (listener) => {
        this.#listeners.set(id, listener);
        this.#port.ref();
      },
      over: () => {
        this.#listeners.delete(id);
        if (this.#listeners.size === 0) this.#port.unref();
      },
    };
  }
}

type SessionPort = {
  readonly tell: (command: ToPaging['command']) => void;
  readonly on: (listener: (event: PagingEvent) => void) => void;
  readonly over: () => void;
};

/** What both kinds of session have. */
class Session<Counts extends SessionCounts> {
  readonly #session: SessionPort;
  readonly #asked: ((counts: Counts) => void)[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #last: Counts | undefined;
  #over = false;

  protected constructor(session: SessionPort) {
    this.#session = session;
    session.on((event) => this.#receive(event));
  }

  #receive(event: PagingEvent): void {
    if (event.type === 'counts') this.#asked.shift()?.(event.counts as Counts);
    else if (event.type === 'ended') {
      this.#over = true;
      this.#last = event.counts as Counts | undefined;
      this.#session.over();
      for (const resolve of this.#asked.splice(0)) if (this.#last !== undefined) resolve(this.#last);
      this.#ended.resolve();
    }
    this.received(event);
  }

  protected received(_event: PagingEvent): void {}

  protected tell(command: ToPaging['command']): void {
    if (!this.#over) this.#session.tell(command);
  }

  /** As of now, or of the end. */
  counts(): Promise<Counts> {
    if (this.#over) {
      const last = this.#last;
      return last === undefined ? Promise.reject(new Error('the session never began')) : Promise.resolve(last);
    }
    return new Promise((resolve) => {
      this.#asked.push(resolve);
      this.tell({ type: 'counts' });
    });
  }

  /** Ends it. Resolves when its descriptors are closed. */
  close(): Promise<void> {
    this.tell({ type: 'close' });
    return this.#ended.promise;
  }
}

/** The destination's end. PagingClient makes it. */
export class Paging extends Session<ServiceCounts & { readonly missingPages: number }> {
  readonly #options: Omit<PagingOptions, 'missing'>;
  readonly #keeping: Promise<unknown>[] = [];
  readonly #kept: Set<string>;
  readonly #started = Promise.withResolvers<void>();
  #hasStarted = false;
  #closing = false;
  #finished = false;

  constructor(
    session: SessionPort,
    options: Omit<PagingOptions, 'missing'>,
    missing: readonly PageRun[] | undefined,
    children: readonly KeptSpace[],
  ) {
    super(session);
    this.#options = options;
    this.#kept = new Set([options.journal, ...children.map(({ journal }) => journal)]);
    const { server, userfault, pid, journal, service = {}, fillsLater = false } = options;
    this.tell({ type: 'faults', server, userfault, pid, journal, missing, children, service, fillsLater });
  }

  /** Resolves when it serves; rejects where it cannot. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** What nobody waits for is fetched as well, from now on. */
  fill(): void {
    this.tell({ type: 'fill' });
  }

  /** The page server is somewhere else now. */
  redirect(server: PageServerAddress): void {
    this.tell({ type: 'redirect', server });
  }

  /** Ends the session. Without a keeper, what is missing is zeros from now on: the process is to end, or has ended. */
  override close(): Promise<void> {
    this.#closing = true;
    return super.close();
  }

  protected override received(event: PagingEvent): void {
    const { onFailure, onTrouble, onEnded, onDone } = this.#options;
    switch (event.type) {
      case 'started':
        this.#started.resolve();
        this.#hasStarted = true;
        break;
      case 'child':
        this.#keepChild(event.child);
        break;
      case 'child-ended':
        void this.#dropChild(event.journal);
        break;
      case 'complete':
        void this.#finish(event.counts);
        break;
      case 'refused':
        onFailure(uncarry(event.error));
        break;
      case 'trouble':
        onTrouble?.(uncarry(event.error));
        break;
      case 'ended':
        if (!this.#hasStarted)
          this.#started.reject(event.error === undefined ? new Error('closed') : uncarry(event.error));
        else if (event.error !== undefined) onFailure(uncarry(event.error));
        else if (this.#finished) onDone(event.counts as ServiceCounts);
        else if (!this.#closing) onEnded?.();
        break;
      default:
    }
  }

  #keepChild({ journal, descriptor }: KeptSpace): void {
    const { keeper, onTrouble } = this.#options;
    this.#kept.add(journal);
    // Where it is closed already the child has ended.
    if (keeper !== undefined) this.#keeping.push(keeper.keep(journal, descriptor).catch((error) => onTrouble?.(error)));
  }

  async #dropChild(journal: string): Promise<void> {
    await Promise.all(this.#keeping);
    if (this.#kept.delete(journal)) await this.#options.keeper?.drop(journal).catch(() => this.#kept.add(journal));
  }

  /**
   * As long as somebody has a userfaultfd, touches of memory without contents are told to it: so the keeper gives its up
   * first, and until then the session answers them.
   */
  async #finish(_counts: ServiceCounts): Promise<void> {
    const { keeper } = this.#options;
    if (keeper !== undefined) {
      await Promise.all(this.#keeping);
      for (const name of this.#kept) {
        while (!this.#closing) {
          try {
            await keeper.drop(name);
            break;
          } catch (thrown) {
            if (
              thrown instanceof ComicranError &&
              (thrown.code === 'peer.died' || thrown.code === 'sandbox.not-running')
            )
              break;
            this.#options.onTrouble?.(thrown as Error);
            await new Promise((resolve) => setTimeout(resolve, DROP_PAUSE_MS));
          }
        }
      }
    }
    if (this.#closing) return;
    this.#finished = true;
    await super.close();
  }
}

/** The source's end. */
export class PageServing extends Session<Readonly<ServedPages>> {
  readonly port: number;
  readonly #options: ServeOptions;
  #done = false;

  constructor(session: SessionPort, port: number, options: ServeOptions) {
    super(session);
    this.port = port;
    this.#options = options;
  }

  protected override received(event: PagingEvent): void {
    if (event.type === 'done' && !this.#done) {
      this.#done = true;
      this.#options.onDone();
    } else if (event.type === 'refused') this.#options.onFailure(uncarry(event.error));
    else if (event.type === 'ended' && event.error !== undefined) this.#options.onFailure(uncarry(event.error));
  }
}
