/**
 * The source orders the input: from the frames that a tap saw, and a mark made while the process stood still, to the log.
 * Pure.
 *
 *     frames tapped   0 1 2 3 4 5 6 7 8 │ 9 10 │ 11 …      the mark: 9 frames had been tapped before the queues were
 *                                       │      │           looked at, 11 behind that
 *     socket A              ▲           │      │           its queue began with frame 3: its input is 3 …
 *     socket B                          │▲     │           nothing waited in it: its input is 9 …
 *     socket C                          │  ▲   │           it was empty, and frame 10 came before it was looked at
 *
 * The mark says for each socket which datagram it would read next. That one is found among the tapped frames by its
 * stamp, its sender and its payload together: stamps may repeat, and may step back. From there on everything for the socket
 * is the destination's input; where nothing waited, the first count of frames is the position. Packets do not stand still
 * with the process: what was first in a queue may have come behind that count, but not behind the second one. Outputs
 * belong to the log from the first count on.
 */
import { assert, defined } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { ipv4Text } from '../base/ipv4.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import { completeChecksum, DatagramAssembler, isIcmpErrorOf, type WholeDatagram } from './datagrams.ts';
import { Queue } from './flow-table.ts';
import { OutputNumbering } from './output-numbering.ts';
import { type MarkedSocket, receiverOf, type SocketHead } from './receivers.ts';

/** Datagrams, and their bytes, that are kept from before a mark; a receive queue of 32 MiB holds fewer. */
const MAX_RECENT = 1 << 16;
const MAX_RECENT_BYTES = 64 << 20;
/** Stamps that an error names. */
const MAX_TOLD = 3;

export type SequencedFrame = {
  readonly outgoing: boolean;
  /** Nanoseconds. */
  readonly stamp: number;
  /** An IP packet: the sequencer copies it. */
  readonly packet: Buffer;
  readonly checksumMissing: boolean;
};

type Mark = {
  /** Frames that the tap had taken up when the process stood still, before its sockets were looked at. */
  readonly frames: number;
  /** The same behind it. */
  readonly lookedUntil: number;
  readonly sockets: readonly MarkedSocket[];
};

type Recent = {
  readonly position: number;
  readonly stamp: number;
  /** undefined: what tells a socket of an error. */
  readonly datagram: WholeDatagram | undefined;
  readonly packets: readonly Buffer[];
};

export class Sequencer {
  readonly #address: number;
  readonly #incoming = new DatagramAssembler();
  readonly #outgoing = new DatagramAssembler({ isOfOneSender: true });
  #seen = 0;
  #recent: Recent[] = [];
  #recentBytes = 0;
  #mark: Mark | undefined;
  #begun = false;
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

  /** Outputs since the mark of which fragments have not been seen: none, where the process stands still. */
  get unfinishedOutputs(): number {
    return this.#begun ? this.#outgoing.incomplete : 0;
  }

  /** Entries that {@link take} has not given yet. */
  get waiting(): number {
    return this.#entries.length;
  }

  /** The next frame that was tapped; null: one that is of no use, but counts. */
  add(frame: SequencedFrame | null): void {
    this.begin();
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
    const packets = datagram?.packets ?? [copy];
    if (datagram === undefined) {
      // What tells a socket of an error is input too. Errors from before the mark are in the image of the process.
      if (!since || !isIcmpErrorOf(copy, this.#address)) return;
    } else if (datagram.destinationAddress !== this.#address) return;
    if (this.#begun) this.#pushInput(packets);
    else this.#keep({ position, stamp, datagram, packets });
  }

  #addOutgoing({ packet, stamp }: SequencedFrame, position: number): void {
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
    this.#recentBytes += bytesOf(recent);
    if (this.#recent.length <= MAX_RECENT && this.#recentBytes <= MAX_RECENT_BYTES) return;
    // Half at once, so that this is seldom.
    for (const old of this.#recent.splice(0, this.#recent.length >> 1)) this.#recentBytes -= bytesOf(old);
  }

  #pushInput(frames: readonly Buffer[]): void {
    this.#entries.push({ kind: 'input', index: this.#inputs++, frames });
  }

  /**
   * Says where the log begins, with a count of frames that is not behind what has been added. As long as nothing has been
   * added behind it a mark may be replaced by a later one.
   */
  mark(mark: Mark): void {
    assert(!this.#begun, 'a log that has begun is marked anew');
    assert(mark.frames >= this.#seen && mark.lookedUntil >= mark.frames, 'a mark is behind frames that have been read');
    this.#mark = mark;
  }

  /**
   * When every frame has been added that a socket at the mark may have held: finds the position of each socket. Does nothing
   * before that, nor a second time.
   * @throws ComicranError replication.overrun: the head of a queue is not among the frames
   */
  begin(): void {
    if (this.#mark === undefined || this.#begun || this.#seen < this.#mark.lookedUntil) return;
    this.#begun = true;
    // Nobody stood still in the middle of a datagram: what is incomplete now has been so since before the tap was there.
    this.#outgoing.takeIncomplete();
    const { sockets, frames } = this.#mark;
    const positions = new Map(sockets.map((socket) => [socket, this.#positionOf(socket, frames)]));
    for (const { position, datagram, packets } of this.#recent) {
      const socket = datagram === undefined ? undefined : receiverOf(datagram, sockets);
      const from = socket === undefined ? frames : defined(positions.get(socket), 'a position');
      if (position >= from) this.#pushInput(packets);
    }
    this.#recent = [];
    this.#recentBytes = 0;
  }

  #positionOf({ head, localPort }: MarkedSocket, frames: number): number {
    if (head === undefined) return frames;
    const alike = this.#recent.filter(
      ({ datagram }) =>
        datagram !== undefined &&
        datagram.destinationPort === localPort &&
        datagram.sourcePort === head.sourcePort &&
        datagram.sourceAddress === head.sourceAddress &&
        datagram.payload.equals(head.payload),
    );
    const found = alike.filter(({ stamp }) => stamp === head.stamp);
    // One that came while the queues were looked at came into an empty one.
    if (found.length === 1) return Math.min(found[0]!.position, frames);
    throw noPosition(localPort, head, { alike, found: found.length, recent: this.#recent, seen: this.#seen });
  }

  /** The next entries of the log, in order. */
  take(maxEntries: number): LogEntry[] {
    this.begin();
    return this.#entries.take(maxEntries);
  }
}

const bytesOf = ({ packets }: Recent): number => packets.reduce((bytes, { length }) => bytes + length, 0);

type Searched = {
  readonly alike: readonly Recent[];
  readonly found: number;
  readonly recent: readonly Recent[];
  readonly seen: number;
};

/** With all that was compared: whoever reads it can tell what has happened from nothing else. */
function noPosition(port: number, head: SocketHead, { alike, found, recent, seen }: Searched): ComicranError {
  const what = `what waits at port ${port}`;
  const why = found === 0 ? 'came before the migration began to watch, or was not seen' : 'came twice at the same time';
  const address = Buffer.alloc(4);
  address.writeUInt32BE(head.sourceAddress);
  const source = `${ipv4Text(address)}:${head.sourcePort}`;
  const span = recent.length === 0 ? '' : ` from ${secondsOf(recent[0]!.stamp)} to ${secondsOf(recent.at(-1)!.stamp)}`;
  const stamps = alike.map(({ stamp }) => stamp).toSorted((a, b) => distance(a, head) - distance(b, head));
  const nearest = stamps.slice(0, MAX_TOLD).map(secondsOf).join(', ');
  return new ComicranError(
    'replication.overrun',
    `${what} ${why}: ${head.payload.length} bytes from ${source}, received at ${secondsOf(head.stamp)}; ` +
      `${seen} frames were watched, ${recent.length} of them kept${span}; ` +
      `of the same sender and contents: ${alike.length}${nearest === '' ? '' : `, received at ${nearest}`}`,
    { hint: 'Start the migration again; nothing has been changed.' },
  );
}

const distance = (stamp: number, head: SocketHead): number => Math.abs(stamp - head.stamp);
/** By the clock of the kernel's stamps. */
const secondsOf = (stamp: number): string => (stamp < 0 ? 'no time' : `${(stamp / 1e9).toFixed(9)} s`);
