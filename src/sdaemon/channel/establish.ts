/** Makes a connection to the peer of a migration: the side that connects, and the side that waits to be connected to. */
import { randomBytes } from 'node:crypto';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { ipv4Text } from '../../base/ipv4.ts';
import { FrameOpener, FrameSealer, HEADER_BYTES, TAG_BYTES } from '../../base/secure-frames/frames.ts';
import {
  ANSWER_BYTES,
  checkAnswer,
  checkHello,
  encodeAnswer,
  encodeHello,
  HELLO_BYTES,
  RANDOM_BYTES,
  trafficKeys,
} from '../../base/secure-frames/handshake.ts';
import { POLL } from '../../linux/file-descriptors.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import {
  acceptTcp,
  connectionError,
  isBrokenConnection,
  listenTcp,
  receiveTcp,
  startConnect,
  type TcpAddress,
  type TcpTuning,
  TcpWriter,
} from '../../linux/tcp.ts';
import type { Readiness } from '../readiness.ts';

/** A connection to the peer. Whoever holds it closes the socket. */
export type PeerConnection = {
  readonly socket: number;
  readonly sealer: FrameSealer;
  readonly opener: FrameOpener;
  /** Of this side: for one that seals and opens frames itself, in the place of the two above. */
  readonly keys: FrameKeys;
};

/** Keys of a connection, and how many frames have been sealed and opened with them. */
export type FrameKeys = {
  readonly sealing: Buffer;
  readonly sealed: bigint;
  readonly opening: Buffer;
  readonly opened: bigint;
};

export type ConnectionOptions = {
  /** 32 bytes, of this one migration. */
  readonly key: Uint8Array;
  /** Of a message, in both directions. */
  readonly maxMessageBytes: number;
  /** The one of the calling thread. */
  readonly readiness: Readiness;
  readonly tuning?: TcpTuning;
};

/** Room for a few of the largest messages; a peer that is silent for so long has gone. */
export const DEFAULT_TUNING: TcpTuning = { bufferBytes: 4 << 20, silenceMs: 8_000 };

/** Connections that have not proven anything yet: so many at a time, each for so long. */
const MAX_CANDIDATES = 16;
const CANDIDATE_MS = 3_000;
const FIRST_FRAME_BYTES = HEADER_BYTES + TAG_BYTES;

function addressText({ address, port }: TcpAddress): string {
  if (address.length === 4) return `${ipv4Text(address)}:${port}`;
  return `[${Buffer.from(address).toString('hex').match(/.{4}/g)!.join(':')}]:${port}`;
}

/**
 * @throws ComicranError vm.unreachable where nobody listens, peer.refused where the peer does not prove that it has the
 * key, deadline
 */
export async function connectToPeer(
  address: TcpAddress,
  timeoutMs: number,
  options: ConnectionOptions,
): Promise<PeerConnection> {
  const where = addressText(address);
  const { readiness } = options;
  const deadline = readiness.nowMs() + timeoutMs;
  const until = async (socket: number, events: number, what: string): Promise<void> => {
    if (await readiness.wait(socket, events, deadline - readiness.nowMs())) return;
    throw new ComicranError('deadline', `${what} ${where} took longer than ${timeoutMs} ms`);
  };

  let socket = -1;
  try {
    socket = startConnect(address, options.tuning ?? DEFAULT_TUNING);
    await until(socket, POLL.OUT, 'connecting to');
    const failure = connectionError(socket);
    if (failure !== undefined) throw failure;

    const own = randomBytes(RANDOM_BYTES);
    // The send buffer of a new connection has room for the few bytes of a handshake.
    const writer = new TcpWriter(socket, 4);
    writer.write([encodeHello(options.key, own)]);
    const answer = Buffer.alloc(ANSWER_BYTES);
    for (let filled = 0; filled < ANSWER_BYTES; ) {
      await until(socket, POLL.IN, 'the answer of');
      const count = receiveTcp(socket, answer.subarray(filled));
      if (count === 0)
        throw new ComicranError('peer.refused', `the peer at ${where} has ended the connection before it answered`, {
          hint: 'See the log of the other daemon; the two may be of different versions.',
        });
      filled += count ?? 0;
    }
    const theirs = checkAnswer(options.key, own, answer);
    if (theirs === undefined)
      throw new ComicranError('peer.refused', `whoever answers at ${where} does not have the key of this migration`);
    const keys = trafficKeys(options.key, own, theirs);
    const sealer = new FrameSealer(keys.connecting, options.maxMessageBytes);
    const opener = new FrameOpener(keys.accepting, options.maxMessageBytes);
    writer.write(sealer.seal([]));
    const frames = { sealing: keys.connecting, sealed: 1n, opening: keys.accepting, opened: 0n };
    return { socket, sealer, opener, keys: frames };
  } catch (thrown) {
    if (socket >= 0) closeDescriptor(socket);
    if (thrown instanceof ComicranError) throw thrown;
    throw new ComicranError('vm.unreachable', `no connection to ${where}: ${messageOf(thrown)}`, {
      cause: thrown,
      hint: 'See whether the other daemon runs and whether a firewall lies between.',
    });
  }
}

/** A connection that has come in and has not proven yet that it is the peer. */
class Candidate {
  readonly socket: number;
  readonly #options: ConnectionOptions;
  readonly #expiresMs: number;
  readonly #writer: TcpWriter;
  readonly #received = Buffer.alloc(HELLO_BYTES + FIRST_FRAME_BYTES);
  #filled = 0;
  #connection: PeerConnection | undefined;

  constructor(socket: number, options: ConnectionOptions) {
    this.socket = socket;
    this.#options = options;
    this.#expiresMs = options.readiness.nowMs() + CANDIDATE_MS;
    this.#writer = new TcpWriter(socket, 1);
  }

  get expired(): boolean {
    return this.#options.readiness.nowMs() > this.#expiresMs;
  }

  /** Reads what has come. @returns the connection when it is the peer's, 'stranger' when it is not. */
  advance(): PeerConnection | 'waiting' | 'stranger' {
    for (;;) {
      const wanted = this.#connection === undefined ? HELLO_BYTES : this.#received.length;
      const count = receiveTcp(this.socket, this.#received.subarray(this.#filled, wanted));
      if (count === undefined) return 'waiting';
      if (count === 0) return 'stranger';
      this.#filled += count;
      if (this.#filled < wanted) continue;
      if (this.#connection !== undefined) {
        this.#connection.opener.open(this.#received.subarray(HELLO_BYTES));
        return this.#connection;
      }
      this.#connection = this.#answer();
      if (this.#connection === undefined) return 'stranger';
    }
  }

  #answer(): PeerConnection | undefined {
    const { key, maxMessageBytes } = this.#options;
    const theirs = checkHello(key, this.#received.subarray(0, HELLO_BYTES));
    if (theirs === undefined) return undefined;
    const own = randomBytes(RANDOM_BYTES);
    this.#writer.write([encodeAnswer(key, theirs, own)]);
    const keys = trafficKeys(key, theirs, own);
    return {
      socket: this.socket,
      sealer: new FrameSealer(keys.accepting, maxMessageBytes),
      opener: new FrameOpener(keys.connecting, maxMessageBytes),
      keys: { sealing: keys.accepting, sealed: 0n, opening: keys.connecting, opened: 1n },
    };
  }
}

/** Waits for the peer of one migration. Connections of anybody else are dropped, and the waiting goes on. */
export class PeerListener {
  readonly port: number;
  readonly #socket: number;
  readonly #options: ConnectionOptions;
  /** They stay from one {@link accept} to the next: the peer may make several connections at once. */
  readonly #candidates: Candidate[] = [];
  #closed = false;

  /** Listens at once. @param address port 0: any free one. @throws KernelError EADDRINUSE, EADDRNOTAVAIL */
  constructor(address: TcpAddress, options: ConnectionOptions) {
    const { socket, port } = listenTcp(address, MAX_CANDIDATES, options.tuning ?? DEFAULT_TUNING);
    this.#socket = socket;
    this.port = port;
    this.#options = options;
  }

  /**
   * The next connection of the peer. May be called again for another one, not at the same time.
   * @throws ComicranError deadline; aborted where this has been closed
   */
  async accept(timeoutMs: number): Promise<PeerConnection> {
    const { readiness } = this.#options;
    const deadline = readiness.nowMs() + timeoutMs;
    const candidates = this.#candidates;
    for (;;) {
      if (this.#closed) throw new ComicranError('aborted', 'nobody waits for the peer any more');
      for (const candidate of candidates.slice()) {
        const state = candidate.expired ? 'stranger' : advanceSafely(candidate);
        if (state === 'waiting') continue;
        candidates.splice(candidates.indexOf(candidate), 1);
        if (state !== 'stranger') return state;
        closeDescriptor(candidate.socket);
      }
      const remaining = deadline - readiness.nowMs();
      if (remaining <= 0) throw new ComicranError('deadline', `the peer did not connect within ${timeoutMs} ms`);
      const sockets = [this.#socket, ...candidates.map(({ socket }) => socket)];
      // Not for longer than a candidate has: one that says nothing is noticed by the time alone.
      await readiness.waitAny(
        sockets.map((descriptor) => ({ descriptor, events: POLL.IN })),
        Math.min(remaining, CANDIDATE_MS),
      );
      if (this.#closed) continue;
      for (let socket = acceptTcp(this.#socket); socket !== undefined; socket = acceptTcp(this.#socket)) {
        candidates.push(new Candidate(socket, this.#options));
        if (candidates.length > MAX_CANDIDATES) closeDescriptor(candidates.shift()!.socket);
      }
    }
  }

  /** May be repeated. Connections that were accepted stay. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.readiness.forget(this.#socket);
    closeDescriptor(this.#socket);
    for (const { socket } of this.#candidates) closeDescriptor(socket);
  }
}

/** A stranger may send anything and go at any moment; neither is a failure of this side. */
function advanceSafely(candidate: Candidate): PeerConnection | 'waiting' | 'stranger' {
  try {
    return candidate.advance();
  } catch (thrown) {
    if (thrown instanceof ComicranError || isBrokenConnection(thrown)) return 'stranger';
    throw thrown;
  }
}
