/**
 * The second face of the sdn: record channels (api/record-channel.ts), for one compare-and-set each. Whoever may have one
 * gets its key over the first face; a connection that does not prove a key is dropped. On the main thread, so that a
 * compare-and-set is one turn of the event loop, like everything that the controller does.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import {
  decodeRecordRequest,
  encodeRecordAnswer,
  MAX_RECORD_MESSAGE_BYTES,
  type RecordAnswer,
  type RecordRequest,
} from '../api/record-channel.ts';
import { assert, unreachable } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { FrameOpener, FrameSealer, HEADER_BYTES, TAG_BYTES } from '../base/secure-frames/frames.ts';
import {
  checkHello,
  encodeAnswer,
  HELLO_BYTES,
  KEY_BYTES,
  RANDOM_BYTES,
  trafficKeys,
} from '../base/secure-frames/handshake.ts';
import { Alert } from './alert.ts';
import type { SdnController, Take } from './controller.ts';
import type { Location } from './tables.ts';

export type Admission = { readonly port: number; readonly key: Uint8Array };

/** What a key stands for. */
type Ticket = { readonly take: Take; readonly key: Buffer; readonly untilMs: number };

/** Each costs a stranger's HELLO a MAC; so many migrations at a time have a quick channel, the others the first face. */
const MAX_TICKETS = 128;
const MAX_CONNECTIONS = 256;
/** A connection that has not proven anything is closed after so long; an emulated machine takes seconds for its first word. */
const HELLO_MS = 10_000;
/** A connection has the bytes of one frame waiting at most, and a little of the next. */
const MAX_WAITING_BYTES = HELLO_BYTES + 2 * (HEADER_BYTES + MAX_RECORD_MESSAGE_BYTES + TAG_BYTES);

type Doer = Pick<SdnController, 'take' | 'lead' | 'giveBack' | 'rehearse'>;

export class RecordFace {
  readonly #server: Server;
  readonly #tickets = new Map<string, Ticket>();
  readonly #connections = new Set<Connection>();
  readonly #alert = new Alert();
  readonly #nowMs: () => number;

  private constructor(server: Server, controller: Doer, nowMs: () => number) {
    this.#server = server;
    this.#nowMs = nowMs;
    server.maxConnections = MAX_CONNECTIONS;
    server.on('connection', (socket) => {
      const connection = new Connection(socket, controller, (hello) => {
        const found = this.#ticketOf(hello);
        if (found !== undefined) this.#alert.begin(connection);
        return found;
      });
      this.#connections.add(connection);
      socket.once('close', () => {
        this.#connections.delete(connection);
        this.#alert.end(connection);
      });
    });
  }

  /** Listens at any free port. @param nowMs Unix time in milliseconds. */
  static async listen(address: string, controller: Doer, nowMs: () => number): Promise<RecordFace> {
    const server = createServer({ noDelay: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, address, resolve);
    });
    return new RecordFace(server, controller, nowMs);
  }

  /** A channel for this one compare-and-set. A former key of the same machine and sandbox is good no more. */
  admit(take: Take, untilMs: number): Admission {
    this.#forgetOld();
    const id = `${take.sandbox} ${take.vm}`;
    this.#tickets.delete(id);
    if (this.#tickets.size >= MAX_TICKETS) {
      throw new ComicranError('peer.refused', `the sdn has ${MAX_TICKETS} record channels already`);
    }
    const key = randomBytes(KEY_BYTES);
    this.#tickets.set(id, { take, key, untilMs });
    const address = this.#server.address();
    assert(typeof address === 'object' && address !== null, 'a TCP server that listens');
    return { port: address.port, key };
  }

  /** The keys of a migration that is over. A connection that has proven one may go on asking: the controller says no. */
  dismiss(migrationId: string): void {
    for (const [id, { take }] of this.#tickets) if (take.migrationId === migrationId) this.#tickets.delete(id);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.#connections) connection.end();
    await closed;
  }

  #forgetOld(): void {
    const nowMs = this.#nowMs();
    for (const [id, { untilMs }] of this.#tickets) if (untilMs <= nowMs) this.#tickets.delete(id);
  }

  #ticketOf(hello: Buffer): { readonly ticket: Ticket; readonly random: Buffer } | undefined {
    this.#forgetOld();
    for (const ticket of this.#tickets.values()) {
      const random = checkHello(ticket.key, hello);
      if (random !== undefined) return { ticket, random };
    }
    return undefined;
  }
}

/** Who has proven the key: which compare-and-set it is for, and the two directions' ciphers. */
type Proven = { readonly take: Take; readonly sealer: FrameSealer; readonly opener: FrameOpener };

class Connection {
  readonly #socket: Socket;
  readonly #controller: Doer;
  readonly #ticketOf: (hello: Buffer) => { readonly ticket: Ticket; readonly random: Buffer } | undefined;
  #proven: Proven | undefined;
  #received: Buffer = Buffer.alloc(0);
  /** The first frame is empty: only who has the keys can have made it. */
  #greeted = false;

  constructor(
    socket: Socket,
    controller: Doer,
    ticketOf: (hello: Buffer) => { readonly ticket: Ticket; readonly random: Buffer } | undefined,
  ) {
    this.#socket = socket;
    this.#controller = controller;
    this.#ticketOf = ticketOf;
    socket.setTimeout(HELLO_MS, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('data', (data) => this.#read(data));
  }

  end(): void {
    this.#socket.destroy();
  }

  #read(data: Buffer): void {
    this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
    try {
      while (this.#advance());
      if (this.#received.length > MAX_WAITING_BYTES) this.end();
    } catch (thrown) {
      if (!(thrown instanceof ComicranError)) throw thrown;
      this.end();
    }
  }

  /** @returns whether it may be that there is more to do. */
  #advance(): boolean {
    if (this.#proven === undefined) return this.#received.length >= HELLO_BYTES && this.#prove();
    const { opener, sealer, take } = this.#proven;
    if (this.#received.length < HEADER_BYTES) return false;
    const wanted = opener.frameBytes(this.#received);
    if (this.#received.length < wanted) return false;
    const message = opener.open(this.#received.subarray(0, wanted));
    this.#received = this.#received.subarray(wanted);
    if (this.#greeted) {
      const answer = this.#answer(take, decodeRecordRequest(message));
      this.#socket.write(Buffer.concat(sealer.seal([encodeRecordAnswer(answer)])));
    } else {
      this.#greeted = true;
      this.#socket.setTimeout(0);
    }
    opener.prepare();
    sealer.prepare();
    return true;
  }

  #prove(): boolean {
    const found = this.#ticketOf(this.#received.subarray(0, HELLO_BYTES));
    if (found === undefined) {
      this.end();
      return false;
    }
    this.#received = this.#received.subarray(HELLO_BYTES);
    const { ticket, random: theirs } = found;
    const own = randomBytes(RANDOM_BYTES);
    this.#socket.write(encodeAnswer(ticket.key, theirs, own));
    const keys = trafficKeys(ticket.key, theirs, own);
    this.#proven = {
      take: ticket.take,
      sealer: new FrameSealer(keys.accepting, MAX_RECORD_MESSAGE_BYTES),
      opener: new FrameOpener(keys.connecting, MAX_RECORD_MESSAGE_BYTES),
    };
    return true;
  }

  #answer(take: Take, request: RecordRequest): RecordAnswer {
    try {
      switch (request.type) {
        case 'REHEARSE':
          return recordOf(this.#controller.rehearse(take));
        case 'TAKE':
          if (request.expectedEpoch === take.expectedEpoch) return recordOf(this.#controller.take(take));
          throw new ComicranError(
            'peer.refused',
            `this channel is for epoch ${take.expectedEpoch}, not for ${request.expectedEpoch}`,
          );
        case 'LEAD':
          return recordOf(this.#controller.lead(take));
        case 'GIVE_BACK':
          return recordOf(this.#controller.giveBack(take, request.expectedEpoch));
        default:
          return unreachable(request);
      }
    } catch (thrown) {
      const code = thrown instanceof ComicranError ? thrown.code : 'sdn.unreachable';
      return { type: 'REFUSED', code, message: messageOf(thrown) };
    }
  }
}

const recordOf = ({ vm, epoch }: Location): RecordAnswer => ({ type: 'RECORD', owner: vm, epoch });
