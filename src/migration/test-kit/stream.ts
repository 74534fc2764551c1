/** A connection between two machines that can break or fall silent at any byte. */
import { ComicranError } from '../../base/errors.ts';
import { decodeDestinationMessage, decodeSourceMessage, encodeMessage } from '../codec.ts';
import type { DestinationMessage, Message, SourceMessage } from '../messages.ts';
import type { Channel } from '../ports.ts';
import { FrameReader, frameHeader } from './framing.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What happens to the stream of one direction behind its first `bytes` bytes. */
export type Break = {
  readonly direction: 'to-destination' | 'to-source';
  readonly bytes: number;
  /** cut: both sides notice. stall: what is sent is swallowed, nobody is told. */
  readonly how: 'cut' | 'stall';
};

export type Connection = {
  readonly source: Channel<SourceMessage, DestinationMessage>;
  readonly destination: Channel<DestinationMessage, SourceMessage>;
  /** The end of one side's program: its kernel closes the connection, or its machine says nothing any more. */
  readonly vanish: (side: 'source' | 'destination', silently: boolean) => void;
  /** Bytes that each direction has been given. */
  readonly bytes: () => { readonly toDestination: number; readonly toSource: number };
};

export function connection(clock: VirtualClock, random: Random, breaks?: Break): Connection {
  const of = (direction: Break['direction']): Break | undefined =>
    breaks?.direction === direction ? breaks : undefined;
  const toDestination = new Pipe(clock, random, of('to-destination'), () => cut());
  const toSource = new Pipe(clock, random, of('to-source'), () => cut());
  const cut = (): void => {
    toDestination.breakOff();
    toSource.breakOff();
  };
  return {
    source: new FakeChannel(toDestination, toSource, clock, decodeDestinationMessage),
    destination: new FakeChannel(toSource, toDestination, clock, decodeSourceMessage),
    vanish: (side, silently) => {
      const [out, into] = side === 'source' ? [toDestination, toSource] : [toSource, toDestination];
      into.deaf = true;
      if (silently) out.silent = true;
      else out.end();
      if (!silently) into.breakOff();
    },
    bytes: () => ({ toDestination: toDestination.written, toSource: toSource.written }),
  };
}

function died(): ComicranError {
  return new ComicranError('peer.died', 'the connection is gone');
}

/** One direction. */
class Pipe {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #break: Break | undefined;
  readonly #onCut: () => void;
  #lastArrivalMicros = 0;
  written = 0;
  silent = false;
  deaf = false;
  /** The sender gets an error for what it sends. */
  broken = false;
  onPiece: (piece: Uint8Array) => void = () => {};
  onEnd: () => void = () => {};

  constructor(clock: VirtualClock, random: Random, breaks: Break | undefined, onCut: () => void) {
    this.#clock = clock;
    this.#random = random;
    this.#break = breaks;
    this.#onCut = onCut;
  }

  write(bytes: Uint8Array): void {
    const room = this.#break === undefined ? bytes.length : Math.max(0, this.#break.bytes - this.written);
    this.written += bytes.length;
    if (!this.silent && room > 0) {
      const through = Buffer.from(bytes.subarray(0, room));
      const middle = this.#random.between(0, through.length);
      for (const piece of [through.subarray(0, middle), through.subarray(middle)])
        this.#arrive(() => this.onPiece(piece));
    }
    if (room >= bytes.length) return;
    if (this.#break?.how === 'cut') this.#onCut();
    else this.silent = true;
  }

  end(): void {
    if (!this.silent) this.#arrive(() => this.onEnd());
  }

  breakOff(): void {
    this.broken = true;
    if (!this.silent) this.#arrive(() => this.onEnd());
  }

  #arrive(what: () => void): void {
    const atMicros = this.#clock.nowMicros() + this.#random.between(20, 120);
    this.#lastArrivalMicros = Math.max(this.#lastArrivalMicros, atMicros);
    this.#clock.after(this.#lastArrivalMicros - this.#clock.nowMicros(), () => this.deaf || what());
  }
}

class FakeChannel<Outgoing extends Message, Incoming extends Message> implements Channel<Outgoing, Incoming> {
  readonly #out: Pipe;
  readonly #clock: VirtualClock;
  readonly #reader = new FrameReader();
  readonly #arrived: Incoming[] = [];
  readonly #frames = new Map<Incoming, Buffer>();
  #failure: ComicranError | undefined;
  #wake: (() => void) | undefined;
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(out: Pipe, into: Pipe, clock: VirtualClock, decode: (frame: Uint8Array) => Incoming) {
    this.#out = out;
    this.#clock = clock;
    into.onPiece = (piece) => {
      try {
        for (const frame of this.#reader.push(piece)) {
          const message = decode(frame);
          this.#frames.set(message, frame);
          this.#arrived.push(message);
        }
      } catch (error) {
        this.#failure ??= error instanceof ComicranError ? error : died();
      }
      this.#wake?.();
    };
    into.onEnd = () => {
      this.#failure ??= died();
      this.#wake?.();
    };
  }

  /** The bytes are looked at when the promise resolves: a buffer that was changed too early arrives changed. */
  async send(message: Outgoing): Promise<void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    try {
      await this.#clock.pause(10);
      if (this.#closed || this.#out.broken) throw died();
      const parts = encodeMessage(message);
      for (const part of [frameHeader(parts), ...parts]) this.#out.write(part);
    } finally {
      resolve();
    }
  }

  async receive(timeoutMs: number): Promise<Incoming> {
    const untilMicros = this.#clock.nowMicros() + timeoutMs * 1000;
    for (;;) {
      const message = this.#closed ? undefined : this.#arrived.shift();
      if (message !== undefined) return message;
      if (this.#closed) throw died();
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = (untilMicros - this.#clock.nowMicros()) / 1000;
      if (leftMs <= 0) throw new ComicranError('deadline', 'no message came in time');
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const cancel = this.#clock.startTimer(leftMs, resolve);
      await promise;
      cancel();
    }
  }

  /** Whoever still looks at the message sees that it should not. */
  recycle(message: Incoming): void {
    const frame = this.#frames.get(message);
    if (frame === undefined) return;
    frame.fill(0xee);
    this.#reader.recycle(frame);
    this.#frames.delete(message);
  }

  close(): void {
    if (this.#closed) return;
    // What was sent before still goes out.
    void this.#last.then(() => {
      this.#closed = true;
      this.#out.end();
      this.#wake?.();
    });
  }
}
