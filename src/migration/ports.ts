/**
 * What the roles of a migration need from the world. The real things stand in sdaemon/, the fakes beside the tests.
 *
 * Everything may be asynchronous, because a fake network is; the real engine answers at once, on a thread of its own,
 * so that nothing else runs between freeze and resume.
 */

/** A run of memory pages: `start` is page-aligned, `length` a multiple of the page size, in bytes. */
export type PageRange = { readonly start: bigint; readonly length: number };

/** The process at the source. Created after everything that can be refused has been refused. */
export interface SourceProcess {
  /**
   * Stops every thread and captures the process. On failure the process runs on as if nothing had happened.
   * May be called again after {@link FrozenProcess.resume}.
   */
  freeze(): Promise<FrozenProcess>;
}

/** A process whose threads are all stopped. Exactly one of resume, kill must be called in the end. */
export interface FrozenProcess {
  /** The process image (image/), without page contents. */
  readonly image: Uint8Array;
  /** Pages with contents that the destination cannot get from files. */
  readonly pages: readonly PageRange[];
  /** Fills `into` with the memory of `range`; their lengths are equal. */
  readPages(range: PageRange, into: Uint8Array): void | Promise<void>;
  /** Makes the stop outlive this program (a ptrace stop ends with its tracer). */
  holdStopped(): void | Promise<void>;
  /** Lets the process run on at the source. It has noticed nothing. */
  resume(): void | Promise<void>;
  /** Ends the process at the source: the destination owns. */
  kill(): void | Promise<void>;
}

/** What arrives at the source while nobody runs. */
export interface SourcePackets {
  /**
   * Reads everything that waits in the process's UDP sockets, oldest first per socket, and what still arrives until it
   * is quiet. Destructive: only called when the destination owns. `deliver` takes whole datagrams.
   */
  drain(deliver: (datagram: CarriedDatagram) => void | Promise<void>): Promise<{ carried: number; dropped: number }>;
}

/** A datagram as a socket gets it: enough to send it again so that the receiver sees no difference. */
export type CarriedDatagram = {
  /** 4 or 16 bytes each. */
  readonly sourceAddress: Uint8Array;
  readonly sourcePort: number;
  readonly destinationAddress: Uint8Array;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
};

/** The destination's side of the sandbox's network. Until {@link release}, packets for the sandbox are held, in order. */
export interface DestinationPackets {
  hold(): Promise<void>;
  /** Hands a datagram to the sandbox as if it had come from the network. */
  inject(datagram: CarriedDatagram): void | Promise<void>;
  /** Hands over what was held, in order and behind everything injected, and takes the hold away. Idempotent. */
  release(): Promise<{ held: number }>;
}

/** The destination's engine: a skeleton of the sandbox waits, no process in it yet. */
export interface DestinationEngine {
  /** Starts to build the process. Refuses (ComicranError) an image that cannot live here. */
  begin(image: Uint8Array): Promise<RestoringProcess>;
}

/** A process that is being built and does not run. Exactly one of finish-then-run, destroy ends it. */
export interface RestoringProcess {
  writePages(range: PageRange, bytes: Uint8Array): void | Promise<void>;
  /** Everything is in place; the process is stopped in a way that outlives this program. */
  finish(): Promise<void>;
  /** After finish: lets it run. */
  run(): void | Promise<void>;
  /** Nothing of it is left. Safe at any moment before run. */
  destroy(): Promise<void>;
}

/** The durable record of who answers, at the sdn. */
export interface Ownership {
  /** Compare-and-set: makes this machine the owner. @returns the record as it stands afterwards. */
  take(expectedEpoch: bigint): Promise<OwnershipRecord>;
  read(): Promise<OwnershipRecord>;
}

export type OwnershipRecord = { readonly owner: string; readonly epoch: bigint };

/** An ordered, authenticated stream of messages between the two machines. */
export interface Channel<Outgoing, Incoming> {
  send(message: Outgoing): void | Promise<void>;
  /** @throws ComicranError peer.died when the connection is gone, deadline when nothing came in time. */
  receive(timeoutMs: number): Promise<Incoming>;
  close(): void;
}

/** Microseconds of a clock that never steps. */
export interface Clock {
  nowMicros(): number;
}
