/**
 * The source orders the input: from the frames that a tap saw, and a mark made while the process stood still, to the log.
 * Pure.
 *
 *     frames tapped   0 1 2 3 4 5 6 7 8 │ 9 10 11 …        the mark: 9 frames had been tapped
 *     socket A              ▲           │                  its queue began with frame 3: its input is 3 …
 *     socket B                          │▲                 nothing waited in it: its input is 9 …
 *
 * The mark says for each socket which datagram it would read next. That one is found among the tapped frames by its
 * stamp, its sender and its payload together: stamps may repeat, and may step back. From there on everything for the socket
 * is the destination's input; where nothing waited, the count of frames is the position. Outputs belong to the log from
 * that count on.
 */
import { assert, defined } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import { completeChecksum, DatagramAssembler, isIcmpErrorOf, type WholeDatagram } from './datagrams.ts';
import { Queue } from './flow-table.ts';
import { OutputNumbering } from './output-numbering.ts';
import { type MarkedSocket, receiverOf } from './receivers.ts';

/** Datagrams, and their bytes, that are kept from before a mark; a receive queue of 32 MiB holds fewer. */
const MAX_RECENT = 1 << 16;
const MAX_RECENT_BYTES = 64 << 20;

export type SequencedFrame = {
  readonly outgoing: boolean;
  /** Nanoseconds. */
  readonly stamp: number;
  /** An IP packet: the sequencer copies it. */
  readonly packet: Buffer;
  readonly checksumMissing: boolean;
};

type Mark = {
  /** Frames that the tap had taken up when the process stood still. */
  readonly frames: number;
  readonly sockets: readonly MarkedSocket[];
};

type Recent = { readonly position: number; readonly stamp: number; readonly datagram: WholeDatagram };

export class Sequencer {
  readonly #address: number;
  readonly #incoming = new DatagramAssembler();
  readonly #outgoing = new DatagramAssembler();
  #seen = 0;
  #recent: Recent[] = [];
  #recentBytes = 0;
  #mark: Mark | undefined;
  #positioned = false;
  readonly #entries = new Queue<LogEntry>();
  #inputs = 0;
  #outputs = 0;
  readonly #numbering = new OutputNumbering();

  /** @param address of the sandbox, as a number of 32 bits. */
  constructor(address: number) {
    this.#address = address;
  }

  /** Frames so far, those of no use included. */
  get seen(): number {
    return this.#seen;
  }

  /** Entries since the mark. */
  get inputs(): number {
    return this.#inputs;
  }

  get outputs(): number {
    return this.#outputs;
  }

  /** Entries that {@link take} has not given yet. */
  get waiting(): number {
    return this.#entries.length;
  }

  /** The next frame that was tapped; null: one that is of no use, but counts. */
  add(frame: SequencedFrame | null): void {
    this.#position();
    const position = this.#seen++;
    if (frame === null) return;
    if (frame.outgoing) this.#addOutgoing(frame, position);
    else this.#addIncoming(frame, position);
    if (this.#incoming.forgotten + this.#outgoing.forgotten > 0 && this.#mark !== undefined)
      throw new ComicranError('replication.overrun', 'too many fragments of datagrams wait for their rest');
  }

  #addIncoming({ packet, stamp, checksumMissing }: SequencedFrame, position: number): void {
    const copy = Buffer.from(packet);
    if (checksumMissing) completeChecksum(copy);
    const since = this.#since(position);
    const datagram = this.#incoming.add(copy, stamp);
    if (datagram === undefined) {
      // What tells a socket of an error is input too. Errors from before the mark are in the image of the process.
      if (since && isIcmpErrorOf(copy, this.#address)) this.#pushInput([copy]);
      return;
    }
    if (datagram.destinationAddress !== this.#address) return;
    if (since) this.#pushInput(datagram.packets);
    else this.#keep({ position, stamp, datagram });
  }

  #addOutgoing({ packet, stamp }: SequencedFrame, position: number): void {
    // Fragments are collected before the mark too: the last one may come behind it, and belongs to no log then either.
    const datagram = this.#outgoing.add(Buffer.from(packet), stamp);
    if (datagram === undefined || datagram.sourceAddress !== this.#address || !this.#since(position)) return;
    this.#outputs++;
    this.#entries.push(this.#numbering.entryOf(datagram));
  }

  #since(position: number): boolean {
    return this.#mark !== undefined && position >= this.#mark.frames;
  }

  #keep(recent: Recent): void {
    this.#recent.push(recent);
    this.#recentBytes += recent.datagram.payload.length;
    if (this.#recent.length <= MAX_RECENT && this.#recentBytes <= MAX_RECENT_BYTES) return;
    // Half at once, so that this is seldom.
    for (const old of this.#recent.splice(0, this.#recent.length >> 1))
      this.#recentBytes -= old.datagram.payload.length;
  }

  #pushInput(frames: readonly Buffer[]): void {
    this.#entries.push({ kind: 'input', index: this.#inputs++, frames });
  }

  /**
   * Begins the log, with a count of frames that is not behind what has been added. As long as nothing has been added behind
   * it a mark may be replaced by a later one.
   */
  mark(mark: Mark): void {
    assert(!this.#positioned, 'a log that has begun is marked anew');
    assert(mark.frames >= this.#seen, 'a mark is behind frames that have been read');
    this.#mark = mark;
  }

  /**
   * When every frame from before the mark has been added: finds the position of each socket.
   * @throws ComicranError replication.overrun: the head of a queue is not among the frames
   */
  #position(): void {
    if (this.#mark === undefined || this.#positioned || this.#seen < this.#mark.frames) return;
    this.#positioned = true;
    const { sockets } = this.#mark;
    const positions = new Map(sockets.map((socket) => [socket, this.#positionOf(socket)]));
    for (const { position, datagram } of this.#recent) {
      const socket = receiverOf(datagram, sockets);
      if (socket !== undefined && position >= defined(positions.get(socket), 'a position')) {
        this.#pushInput(datagram.packets);
      }
    }
    this.#recent = [];
    this.#recentBytes = 0;
  }

  #positionOf({ head, localPort }: MarkedSocket): number {
    if (head === undefined) return Number.POSITIVE_INFINITY;
    const found = this.#recent.filter(
      ({ stamp, datagram }) =>
        stamp === head.stamp &&
        datagram.destinationPort === localPort &&
        datagram.sourcePort === head.sourcePort &&
        datagram.sourceAddress === head.sourceAddress &&
        datagram.payload.equals(head.payload),
    );
    if (found.length === 1) return found[0]!.position;
    throw new ComicranError(
      'replication.overrun',
      found.length === 0
        ? `what waits at port ${localPort} came before the migration began to watch, or was not seen`
        : `what waits at port ${localPort} came twice in the same nanosecond`,
      { hint: 'Start the migration again; nothing has been changed.' },
    );
  }

  /** The next entries of the log, in order. */
  take(maxEntries: number): LogEntry[] {
    this.#position();
    return this.#entries.take(maxEntries);
  }
}
