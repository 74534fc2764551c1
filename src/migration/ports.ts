/**
 * What the roles of a migration need from the world. The real things stand in sdaemon/, the fakes in test-kit/.
 *
 * Everything may be asynchronous, because a fake network is; the real engine may answer at once, on a thread of its
 * own, so that nothing else runs between freeze and resume.
 *
 * Three rules hold for every port:
 * - Calls on one object take effect in the order in which they were made, also when an earlier one has not answered
 *   yet. A role that gives up waiting for `holdStopped` may call `resume`, and the process then runs.
 * - A role gives up waiting by its own clock; the call goes on unobserved. A port need not know deadlines of its own
 *   where none is passed to it.
 * - A buffer belongs to the one who made it. Where a port may keep one, or reuses one, the method says so.
 */
import type { ProcessEnd } from '../base/process-end.ts';
import type { Flow, LogEntry } from '../base/traffic-log.ts';
import type { JournalEntry } from './journal.ts';
import type { DestinationMessage, SourceMessage } from './messages.ts';

/** A run of memory pages: `start` is page-aligned, `length` a multiple of the page size, in bytes, more than 0. */
export type PageRange = { readonly start: bigint; readonly length: number };

// ------------------------------------------------------------------------------------------------------- the source

/** Where pages that come later are to be had. */
export type PageServer = {
  /** IPv4, 4 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Of this migration's page connections; {@link PAGE_KEY_BYTES} bytes. */
  readonly key: Uint8Array;
};

export const PAGE_KEY_BYTES = 32;

/** The process at the source. Created after everything that can be refused has been refused. */
export interface SourceProcess {
  /**
   * What can be seen of the process from outside, encoded, for {@link DestinationEngine.sketch}. It runs, and is not touched.
   * What it says need not be true any more.
   */
  sketch(): Uint8Array | Promise<Uint8Array>;
  /**
   * Stops every thread and captures the process. On failure the process runs on as if nothing had happened.
   * May be called again after {@link StoppedProcess.resume}.
   */
  freeze(): Promise<FrozenProcess>;
  /**
   * Copies the process as it is at one moment; it is stopped for that moment only. The moment is also that from which
   * {@link SourceTraffic.read} tells what has come in and gone out. Where {@link SourceCopying} has begun, only what it has not
   * told is copied. On failure the process runs on as if nothing had happened.
   */
  snapshot(): Promise<Snapshot>;
  /**
   * The moment comes in which nobody answers: what this program does for it goes before others of the machine, until
   * {@link stop} or one of the ends of {@link StoppedProcess}.
   */
  hasten(): void | Promise<void>;
  /**
   * Begins to stop every thread, in a way that outlives this program. A call that fails may have begun it all the same:
   * {@link StoppedProcess.resume} takes that back.
   */
  stop(): void | Promise<void>;
  /** Behind {@link stop}: when it has answered, no thread runs any more. Where the process has ended, none does. */
  confirmStop(): void | Promise<void>;
  /** There is no process any more: it has ended by itself, or somebody has ended it. */
  hasEnded(): boolean;
  /** Of a process that was stopped by {@link stop}, or is about to be. */
  readonly stopped: StoppedProcess;
}

/** A copy of the process at one moment. */
export interface Snapshot {
  /** As of {@link FrozenProcess}. */
  readonly image: Uint8Array;
  readonly pages: readonly PageRange[];
  readonly ownPages: readonly PageRange[];
  /** From the first thread's interruption to the last one's release. */
  readonly freezeMicros: number;
  readPages(ranges: readonly PageRange[], into: Uint8Array): void | Promise<void>;
  /** Nothing of the copy is left. May be repeated. */
  close(): void | Promise<void>;
}

/** A process at the source that does not run, or that a daemon which starts again has to bring to one end. */
export interface StoppedProcess {
  /** Lets the process run on at the source; it has noticed nothing. Does nothing where it runs already. */
  resume(): void | Promise<void>;
  /** Ends the process at the source: the destination owns. Does nothing where there is none any more. */
  kill(): void | Promise<void>;
}

/**
 * A process whose threads are all stopped. Exactly one of resume, kill is called in the end. Until
 * {@link holdStopped} the stop ends with this program: a ptrace stop ends with its tracer.
 */
export interface FrozenProcess extends StoppedProcess {
  /** For how long it has been stopped, now: before that it ran while it was looked at. */
  readonly stoppedMicros: number;
  /** The process image (image/), without page contents. */
  readonly image: Uint8Array;
  /**
   * Pages with contents that the destination cannot get from files, and that have not been told by {@link SourceCopying}:
   * ascending, not overlapping.
   */
  readonly pages: readonly PageRange[];
  /** As `pages`, with those that have been told. One that was told and is not in here is gone. */
  readonly ownPages: readonly PageRange[];
  /**
   * Fills `into` with the memory of `ranges`, one behind another; `into` is as long as all of them together. At most
   * {@link import('./messages.ts').MAX_RANGES} ranges a call, so that one process_vm_readv(2) can do it. The port
   * keeps nothing of `into` after it has answered.
   */
  readPages(ranges: readonly PageRange[], into: Uint8Array): void | Promise<void>;
  /** Makes the stop outlive this program. */
  holdStopped(): void | Promise<void>;
}

/** What arrives at the source while nobody runs. */
export interface SourcePackets {
  /**
   * Reads everything that waits in the process's UDP sockets, oldest first per socket, and what still arrives until it
   * is quiet or `timeoutMs` is over. Destructive: called once, when the destination owns, before `kill`.
   * @param deliver takes whole datagrams and keeps them, their bytes too. It neither waits nor throws.
   * @param led until it has resolved the network may lead packets here: neither quiet nor `timeoutMs` counts before that.
   * It never rejects.
   * @returns how many datagrams full receive queues have dropped since the freeze.
   */
  drain(
    deliver: (datagram: CarriedDatagram) => void,
    timeoutMs: number,
    led?: Promise<void>,
  ): Promise<{ dropped: number }>;
}

/** Copies memory while its process runs: what has been written is told in rounds. */
export interface SourceCopying {
  /** Begins to notice writes. @throws ComicranError needs.kernel where there is no way to; the process is not touched then */
  start(): Promise<void>;
  /**
   * Makes rounds until little is left to copy, or as much as before. The first tells all pages, each other one those that
   * were written since. What was written during the last one is in {@link FrozenProcess.pages}, or
   * {@link Snapshot.pages}.
   * @param copy copies a round; the next one begins behind it. Its failure is this one's.
   * @returns how many rounds there were
   */
  rounds(copy: (pages: readonly PageRange[]) => Promise<void>): Promise<number>;
  /** As {@link FrozenProcess.readPages}, of pages of a round. */
  readPages(ranges: readonly PageRange[], into: Uint8Array): void | Promise<void>;
  /** Notices nothing any more. May be repeated. */
  close(): void | Promise<void>;
}

/** Serves the memory of a process to a destination where it runs already. */
export interface SourcePaging {
  /**
   * Opens the page server; nothing is read before somebody asks, which is when the process has been stopped. A daemon that
   * starts again opens it where the one before it had it.
   */
  serve(): Promise<PageServer>;
  /** Which pages must be there before the process can be finished, and which may come later. */
  split(process: FrozenProcess): { readonly eager: readonly PageRange[]; readonly later: readonly PageRange[] };
  /** Serves no more: before the process runs on. May be repeated, also where nothing was served. */
  close(): void | Promise<void>;
}

/** How much of a log there is. */
export type LogCount = { readonly inputs: number; readonly outputs: number };

/** What goes into the process at the source and comes out of it, in the order in which it does. */
export interface SourceTraffic {
  /** Touches nothing. @throws ComicranError replication.unsuitable, naming what of the process cannot be watched. */
  check(): void | Promise<void>;
  /** Begins to watch; before the snapshot. @throws as {@link check} */
  start(): Promise<void>;
  /**
   * What has happened since the snapshot and has not been told yet, oldest first.
   * @throws ComicranError replication.overrun: something was lost that the copy would have needed.
   */
  read(maxEntries: number): readonly LogEntry[];
  /** Resolves when there may be something to read, or the time is over. */
  wait(timeoutMs: number): Promise<void>;
  /** Makes {@link cut} quick. Not behind it. @throws ComicranError process.gone */
  prepareCut(): void | Promise<void>;
  /**
   * From now on nothing of the process leaves its machine, from before {@link SourceTraffic} looks, and also when this
   * program has ended. What it sends waits; it notices nothing, and runs on.
   */
  cut(): void | Promise<void>;
  /** Takes the cut back: what waited leaves, in order. Does nothing where there is none. */
  uncut(): void | Promise<void>;
  /** Behind the cut: whether an output of several packets has left in part. It has to leave whole before {@link finish}. */
  isHalfOut(): boolean | Promise<boolean>;
  /** Of a process that has been stopped and cut off: what waits leaves, and nothing behind it. */
  letOut(): void | Promise<void>;
  /**
   * Behind the cut: nothing will come out any more. What came in so far is the end of the log; what comes in later is
   * {@link SourcePackets.drain}ed.
   * @returns how much was, and is still to be, {@link read}, all together. @throws ComicranError replication.overrun
   */
  finish(): LogCount | Promise<LogCount>;
  /** Watches no more. May be repeated. */
  close(): void | Promise<void>;
}

/** A datagram as a socket gets it: enough to send it again so that the receiver sees no difference. */
export type CarriedDatagram = {
  /** 4 or 16 bytes, both the same number. */
  readonly sourceAddress: Uint8Array;
  readonly sourcePort: number;
  readonly destinationAddress: Uint8Array;
  readonly destinationPort: number;
  /** 65,535 bytes at most; may be empty. */
  readonly payload: Uint8Array;
};

// -------------------------------------------------------------------------------------------------- the destination

/** The destination's side of the sandbox's network. Between hold and release packets for it wait, in order. */
export interface DestinationPackets {
  /** Called before anything arrives. A packet that comes later and is not injected waits until release or discard. */
  hold(): Promise<void>;
  /** Hands a datagram to the sandbox as if it had come from the network. Keeps nothing of it after it has answered. */
  inject(datagram: CarriedDatagram): void | Promise<void>;
  /** Hands over what was held, in order and behind everything injected, and takes the hold away. May be repeated. */
  release(): Promise<{ held: number }>;
  /** Takes the hold away and throws away what was held: the sandbox does not come to run here. May be repeated. */
  discard(): Promise<void>;
}

/** The first output in which a copy differs from its original. */
export type Difference = {
  readonly flow: Flow;
  readonly index: number;
  /** Undefined: it is not known. */
  readonly expected: { readonly length: number; readonly digest: Uint8Array };
  readonly found: { readonly length: number; readonly digest: Uint8Array; readonly beginning: Uint8Array };
};

export type ReplayStatus = {
  /** Inputs that the copy's sockets have been given. */
  readonly injected: number;
  /** Outputs of the log that the copy has made as well. */
  readonly compared: number;
  /** Outputs of the copy that are not in the log, or not yet. */
  readonly held: number;
  readonly difference: Difference | undefined;
};

/** The silent copy at the destination: what goes into it, and what comes out and is held back. */
export interface DestinationReplay {
  /** From here on nothing that the process sends leaves the machine, whatever becomes of this program. */
  shut(): Promise<void>;
  /** Keeps the bytes of the entries until it has used them. Neither waits nor throws. */
  play(entries: readonly LogEntry[]): void;
  /**
   * Does what can be done now: injects, compares. Not before the process is complete.
   * @throws ComicranError replication.overrun: the copy has lost something; replication.ended: there is no copy any more.
   */
  step(): ReplayStatus;
  /** Resolves when {@link step} may have something to do or to say, or the time is over. */
  wait(timeoutMs: number): Promise<void>;
  /** The cutover does not come soon: nothing is to be hurried for it. */
  rest(): void;
  /**
   * What is held leaves, in order. Once.
   * @returns how many were held
   */
  release(): number | Promise<number>;
  /**
   * At once behind {@link release}: what the process has sent since then leaves, and from here on what it sends leaves by
   * itself. May be repeated where it has failed.
   */
  open(): void | Promise<void>;
  /** Takes everything away; before the process is destroyed nothing of it leaves all the same. May be repeated. */
  discard(): Promise<void>;
}

/** The destination's engine: a skeleton of the sandbox waits, no process in it yet. */
export interface DestinationEngine {
  /**
   * Builds what takes long of the process that a sketch is of: what is still true of it when the image comes is used by
   * {@link begin}. Where it throws, nothing is left, and {@link begin} does without.
   */
  sketch(sketch: Uint8Array, options: BeginOptions): void | Promise<void>;
  /** Nothing is left of what {@link sketch} has built and {@link begin} has not come to. May be repeated. */
  forgetSketch(): void | Promise<void>;
  /** Starts to build the process. Refuses (ComicranError) an image that cannot live here, and leaves nothing then. */
  begin(image: Uint8Array, options: BeginOptions): Promise<RestoringProcess>;
}

export type BeginOptions = {
  /** Pages may be missing when the process runs. */
  readonly lazy: boolean;
};

/** Brings pages that are missing into a process that runs. */
export interface DestinationPaging {
  /**
   * Begins to fetch what is missing of the process that is being built, which may be finished then. It ends when the process
   * is destroyed.
   */
  start(missing: readonly PageRange[], server: PageServer): Promise<Fill>;
  /** Goes on where an earlier run of this program ended. */
  adopt(): Promise<Fill>;
}

/** The rest of a process's memory on its way. */
export interface Fill {
  /**
   * Resolves when the end of this program would not make zeros of what is missing: whoever touches it waits for the next one
   * to {@link DestinationPaging.adopt} the process. Before that the process must not come to own.
   */
  secured(): Promise<void>;
  /** The process runs: what nobody waits for is fetched as well. Until then it would only be in the way. */
  fetchAll(): void;
  /**
   * Resolves when nothing is missing any more, or the process has ended, and nobody listens for faults.
   * @throws ComicranError: what is missing will not come, such as process.gone; the process waits for it.
   */
  filled(): Promise<FillCounts>;
  missingPages(): number | Promise<number>;
}

export type FillCounts = {
  /** How often somebody had to wait for a page. */
  readonly faults: number;
  /** Pages that came because somebody waited, with those around them, and those that came in the background. */
  readonly faultedPages: number;
  readonly filledPages: number;
  /** The median time for which somebody waited; 0 where nobody did. */
  readonly faultMicros: number;
  /** The process has ended before all of its memory was there. */
  readonly ended: ProcessEnd | undefined;
};

/** A complete process at the destination that does not run yet, or may already where a daemon finds it again. */
export interface RestoredProcess {
  /** Lets it run as a silent copy, which may still be destroyed; {@link run} then only says that it will not be. */
  rehearse(): void | Promise<void>;
  /**
   * Lets it run. Does nothing where it runs already. Where it throws, such as process.gone, the process has not run and will
   * not.
   */
  run(): void | Promise<void>;
  /** Nothing of it is left. May be called at any moment before run has succeeded, and more than once. */
  destroy(): Promise<void>;
}

/** A process that is being built and does not run. Until finish it ends with this program. */
export interface RestoringProcess extends RestoredProcess {
  /** `bytes` is the memory of `ranges`, one behind another. The port keeps nothing of it after it has answered. */
  writePages(ranges: readonly PageRange[], bytes: Uint8Array): void | Promise<void>;
  /** Everything is in place; the process is stopped in a way that outlives this program. */
  finish(): Promise<void>;
  /** Behind {@link finish}. @throws ComicranError where it has ended since, so that it cannot be {@link run} */
  confirm(): void | Promise<void>;
}

// --------------------------------------------------------------------------------------------------- what both need

/** The durable record of who answers, at the sdn; of one sandbox, and by one machine: this one. */
export interface Ownership {
  /**
   * Compare-and-set: makes this machine the owner, at `expectedEpoch` + 1, if the record's epoch is `expectedEpoch`.
   * The route to the sandbox changes in the same step, before the answer; in a mode whose route follows later
   * (`leadsLate`) it stays where it is.
   * @returns the record as it stands afterwards, changed or not.
   * @throws where the answer is not known; the change may have been made, and may even be made later.
   */
  take(expectedEpoch: bigint): Promise<OwnershipRecord>;
  /**
   * As {@link take}, by a destination that does without its source: in the same step the network leads here, and takes
   * nothing any more that comes from the source's machine, whatever runs there. Behind {@link take} it does the rest of it.
   * May be repeated.
   * @throws ComicranError migration.refused, sandbox.unknown: it has not been made, and this migration never will
   */
  takeOver(expectedEpoch: bigint, order: TakeoverOrder): Promise<OwnershipRecord>;
  /** The record, which stays as it is; undefined: there is no such sandbox any more. */
  look(): Promise<OwnershipRecord | undefined>;
  /** As {@link take}, and makes the other machine of the migration the owner: this one has the record and gives it back. */
  give(expectedEpoch: bigint): Promise<OwnershipRecord>;
  /**
   * Leads the network's packets for the sandbox to this machine, which owns, where {@link take} has left them where they
   * went. May be repeated. @throws where it is not known to have been done
   */
  lead(): Promise<void>;
}

/** Somebody has decided that a destination is to do without its source. */
export type TakeoverOrder = {
  /** He answers for it that nothing runs there any more: what the network cannot shut out need not be. */
  readonly sourceIsOff: boolean;
};

export type OwnershipRecord = {
  /** Name of a virtual machine. */
  readonly owner: string;
  readonly epoch: bigint;
};

/**
 * An ordered, authenticated stream of messages between the two machines. It may break at any byte; it never repeats,
 * changes or reorders. A migration may open a second one after the first broke: derive keys afresh for each.
 */
export interface Channel<Outgoing, Incoming> {
  /**
   * Messages go out in the order of the calls; a call need not wait for the one before. The bytes of the message may be
   * changed again once this has answered, not before.
   * @throws ComicranError peer.died when the connection is gone.
   */
  send(message: Outgoing): void | Promise<void>;
  /**
   * The views in the message stay valid until {@link recycle} is called with it, or for ever if it is not.
   * One call at a time.
   * @throws ComicranError peer.died when the connection is gone, deadline when nothing came in time, peer.protocol when
   * what came is no message.
   */
  receive(timeoutMs: number): Promise<Incoming>;
  /** The receiver has finished with the message's views: their memory may be used for another message. */
  recycle?(message: Incoming): void;
  /** What was sent still goes out. May be repeated. */
  close(): void;
}

/**
 * Where a side notes how far it has got, so that a daemon that starts again can end what it finds. One entry a
 * migration. It must outlive the program, not the machine: the processes that it speaks of do not outlive that either,
 * so a write without fsync(2) is enough, and the roles write while the process is stopped.
 */
export interface Journal {
  /** Replaces the migration's entry, wholly or not at all (write beside it, then rename). */
  write(entry: JournalEntry): void | Promise<void>;
  /** The migration has ended on this side, nothing of it is left to decide. Does nothing where there is no entry. */
  clear(migrationId: string): void | Promise<void>;
}

/** A clock that never steps. */
export interface Clock {
  nowMicros(): number;
  /** Calls `callback` once after so many milliseconds. @returns what cancels it. */
  startTimer(milliseconds: number, callback: () => void): () => void;
}

/** Everything that the source role touches. */
export type SourcePorts = {
  readonly process: SourceProcess;
  readonly packets: SourcePackets;
  readonly traffic: SourceTraffic;
  readonly copying: SourceCopying;
  readonly paging: SourcePaging;
  /** A new connection to the destination of this migration; called again after one has broken behind TAKE. */
  readonly connect: (timeoutMs: number) => Promise<Channel<SourceMessage, DestinationMessage>>;
  readonly ownership: Ownership;
  readonly journal: Journal;
  readonly clock: Clock;
};

/** Everything that the destination role touches. */
export type DestinationPorts = {
  readonly engine: DestinationEngine;
  readonly packets: DestinationPackets;
  readonly replay: DestinationReplay;
  readonly paging: DestinationPaging;
  /**
   * The next connection of this migration's source; one that proves to be somebody else's is not told of. Rejects when
   * nobody has come in time, or when nobody can come any more. A role may wait here and on an older connection at once.
   */
  readonly accept: (timeoutMs: number) => Promise<Channel<DestinationMessage, SourceMessage>>;
  readonly ownership: Ownership;
  readonly journal: Journal;
  readonly clock: Clock;
};
