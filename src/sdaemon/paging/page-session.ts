/** The source's end of paging for one process: whoever has the key connects, and gets the pages that it asks for. */
import { ComicranError, messageOf } from '../../base/errors.ts';
import { KernelError } from '../../linux/errno.ts';
import type { TcpAddress } from '../../linux/tcp.ts';
import { decodeDestinationMessage, encodeMessage } from '../../paging/codec.ts';
import { MAX_MESSAGE_BYTES, PROTOCOL_VERSION } from '../../paging/messages.ts';
import type { PageReader } from '../../paging/page-reader.ts';
import { PageServer, type ServedPages } from '../../paging/page-server.ts';
import { type PeerConnection, PeerListener } from '../channel/establish.ts';
import type { Readiness } from '../readiness.ts';
import { BriefWait } from './brief-wait.ts';
import { FrameLine } from './frame-line.ts';

export type PageSessionOptions = {
  /** Where to listen; port 0: any free one. A daemon that takes over from another one listens where that one did. */
  readonly listen: TcpAddress & { readonly key: Uint8Array };
  /** This session's from now on. */
  readonly reader: PageReader;
};

export type PageSessionCalls = {
  /** The destination misses nothing any more. */
  readonly onDone: () => void;
  /** The process cannot be read; the destination has been told. */
  readonly onFailure: (error: ComicranError) => void;
};

const ACCEPT_MS = 60_000;
const IDLE_MS = 1_000;

type Peer = { readonly line: FrameLine; readonly server: PageServer };

export class PageSession {
  readonly #options: PageSessionOptions;
  readonly #calls: PageSessionCalls;
  readonly #readiness: Readiness;
  readonly #listener: PeerListener;
  readonly #served: ServedPages = { faulted: 0, filled: 0 };
  readonly #brief = new BriefWait();
  /** What was done last was to bring pages that somebody had waited for: he is likely to want more. */
  #hasAnswered = false;
  #peers: Peer[] = [];
  #closed = false;
  #changed: (() => void) | undefined;
  readonly #end = Promise.withResolvers<void>();

  /** Listens at once. @throws KernelError EADDRINUSE, EADDRNOTAVAIL */
  constructor(options: PageSessionOptions, calls: PageSessionCalls, readiness: Readiness) {
    this.#options = options;
    this.#calls = calls;
    this.#readiness = readiness;
    const { address, port, key } = options.listen;
    this.#listener = new PeerListener({ address, port }, { key, maxMessageBytes: MAX_MESSAGE_BYTES, readiness });
  }

  get port(): number {
    return this.#listener.port;
  }

  counts(): Readonly<ServedPages> {
    return { ...this.#served };
  }

  /** Serves until {@link close}. */
  async run(): Promise<void> {
    const accepting = this.#accept();
    try {
      while (!this.#closed) {
        const { faulted } = this.#served;
        if (this.#step()) {
          this.#brief.came();
          this.#hasAnswered = this.#served.faulted > faulted;
        } else {
          await this.#wait();
        }
        if (this.#readiness.turnDue) await this.#readiness.turn();
      }
    } finally {
      this.close();
      await accepting;
    }
  }

  async #wait(): Promise<void> {
    if (this.#peers.length === 0) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
      return;
    }
    const watched = this.#peers.map(({ line }) => line.watched);
    if (!this.#brief.wait(watched, this.#hasAnswered)) await this.#readiness.waitAny(watched, IDLE_MS);
  }

  /** @returns whether anything was done. */
  #step(): boolean {
    let busy = false;
    for (const peer of this.#peers.slice()) if (this.#serve(peer)) busy = true;
    return busy;
  }

  #serve(peer: Peer): boolean {
    const { line, server } = peer;
    let busy = false;
    try {
      line.flush();
      // Nothing is read, nor taken in, for a peer that does not take what it has asked for.
      for (let bytes = this.#next(peer); bytes !== undefined; bytes = this.#next(peer)) {
        busy = true;
        server.take(decodeDestinationMessage(bytes));
        // Between two pieces of the fill somebody may have asked for a page that is waited for.
        if (server.purpose !== 'faults') break;
      }
    } catch (thrown) {
      this.#drop(peer);
      if (thrown instanceof KernelError) this.#fail(thrown);
      else if (!(thrown instanceof ComicranError)) throw thrown;
      else if (thrown.code === 'process.gone') this.#fail(thrown);
    }
    return busy;
  }

  #next({ line }: Peer): Buffer | undefined {
    if (line.isClosed || line.isCongested) return undefined;
    return line.receive();
  }

  #fail(thrown: KernelError | ComicranError): void {
    const error =
      thrown instanceof ComicranError
        ? thrown
        : new ComicranError('process.gone', `the pages of the process cannot be read: ${messageOf(thrown)}`, {
            cause: thrown,
          });
    this.#calls.onFailure(error);
  }

  async #accept(): Promise<void> {
    while (!this.#closed) {
      let connection: PeerConnection;
      try {
        connection = await this.#listener.accept(ACCEPT_MS);
      } catch (thrown) {
        if (thrown instanceof ComicranError && (thrown.code === 'deadline' || thrown.code === 'aborted')) continue;
        throw thrown;
      }
      const line = new FrameLine(connection, MAX_MESSAGE_BYTES);
      const server = new PageServer(this.#options.reader, this.#served, {
        send: (message) => line.send(encodeMessage(message)),
        done: () => this.#calls.onDone(),
        version: PROTOCOL_VERSION,
      });
      for (const peer of this.#peers) this.#readiness.forget(peer.line.watched.descriptor);
      this.#peers.push({ line, server });
      this.#changed?.();
      this.#changed = undefined;
    }
  }

  #drop(peer: Peer): void {
    this.#readiness.forget(peer.line.watched.descriptor);
    peer.line.close();
    this.#peers = this.#peers.filter((other) => other !== peer);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    for (const peer of this.#peers) this.#drop(peer);
    this.#options.reader.close();
    this.#changed?.();
    this.#end.resolve();
  }

  /** When it has let go of everything. */
  get closed(): Promise<void> {
    return this.#end.promise;
  }
}
