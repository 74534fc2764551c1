/**
 * What the two sides of a migration say to each other. (How it is written in bytes: codec.ts.)
 *
 *     source                                                destination
 *       │ ── HELLO   which migration, at which epoch ───────────► │  holds the sandbox's packets
 *       │ ◄─────────────────────────────────────────── WELCOME ── │
 *     freezes                                                     │
 *       │ ── IMAGE × n   the process without its pages ─────────► │  begins to build
 *       │ ── PAGES × n   ranges and their bytes ────────────────► │  writes them
 *       │ ── END     how many bytes of pages that were ─────────► │  finishes: built, stopped
 *       │ ◄───────────────────────────────────────────── READY ── │
 *     holds the stop                                              │
 *       │ ── TAKE    from here on only the record decides ──────► │  compare-and-set, lets it run
 *       │ ◄───────────────────────────────────────────── OWNED ── │
 *     drains its sockets                                          │
 *       │ ── DATAGRAMS × n   numbered from 0 ───────────────────► │  injects them
 *       │ ── DRAINED how many that were ────────────────────────► │  releases what it held
 *       │ ◄─────────────────────────────────────── HANDED_OVER ── │
 *     kills its process, closes                                   │  the only instance
 *
 * Replicated: the destination says LED when the network leads to it, on every connection; DRAINED does not come before.
 *
 * Before TAKE either side may end it: the source with ABORT, the destination with FAILED. After TAKE no word of the
 * other side counts but OWNED, and a FAILED that follows TAKE only makes the source ask the record sooner.
 *
 * The connection may break behind TAKE. The side that has not heard asks the record; if the destination owns, the
 * source comes back over a new connection, and the datagrams go on where they stopped:
 *
 *       │ ── HAND_OVER  which migration ────────────────────────► │
 *       │ ◄───────────────────── RECEIVED how many datagrams ──── │
 *       │ ── DATAGRAMS × n, DRAINED ────────────────────────────► │
 *
 * In mode `replicated` the process at the source goes on behind IMAGE, and so does the conversation:
 *
 *       │ ── LOG × n     what went in and came out ─────────────► │  (also between PAGES)
 *       │ ◄───────────────────────────────────────────── READY ── │  the copy runs, silent, and is fed from the log
 *       │ ◄───────────────────────────────────────── REPORT × n ── │  how far it has got
 *     when little is left                                         │
 *       │ ── TAKE ──────────────────────────────────────────────► │  compare-and-set
 *       │ ◄───────────────────────────────────────────── TAKEN ── │
 *     cuts its process off, reads the rest                        │
 *       │ ── LOG × n, LOG_END ──────────────────────────────────► │  reproduces the rest, compares; lets its own out
 *       │ ◄───────────────────────────────────────────── OWNED ── │
 *       │ ── DATAGRAMS × n, DRAINED   what came behind LOG_END ──► │
 *
 * In mode `precopy` the process at the source goes on at first:
 *
 *       │ ── PAGES × n   rounds of what it has written ─────────► │  keeps them; a later copy of a page replaces the earlier
 *     freezes, when little is left                                │
 *       │ ── IMAGE × n                                            │
 *       │ ── OWN × n     which pages it has at the end ─────────► │  forgets all others
 *       │ ── PAGES × n, END ────────────────────────────────────► │  builds it of those and these
 *
 * So it may in `replicated`, up to the snapshot. PAGES before IMAGE say that it does.
 *
 * In mode `postcopy` most pages come when the destination owns, over connections of their own (paging/):
 *
 *       │ ── PAGE_SERVER where they are to be had ──────────────► │
 *       │ ── SKETCH × n  what can be built of it beforehand ────► │  builds that
 *       │ ◄─────────────────────────────────────────── SKETCHED ─ │  has built it, or cannot: makes all of it from the image
 *     freezes                                                     │
 *       │ ── IMAGE × n                                            │
 *       │ ── MISSING × n which pages come later ────────────────► │
 *       │ ── PAGES × n   what is needed at once ────────────────► │
 *       │ ── END ───────────────────────────────────────────────► │  begins to fetch the rest; finishes
 *       │      …READY to HANDED_OVER as ever…                     │  runs; whoever touches a missing page waits for it
 *       │ ◄──────────────────────────────────────── FILLING × n ─ │  now and then: how much is missing
 *       │ ◄──────────────────────────────────────────── FILLED ── │  nothing is
 *     kills its process                                           │
 *       │ ── FREED ─────────────────────────────────────────────► │
 *
 * Behind RECEIVED, too, FILLING and FILLED come: FILLED is said on every connection until FREED has been heard.
 *
 * A destination that owns and then cannot let the process run has destroyed it and says GIVEN_BACK instead of OWNED (or
 * instead of RECEIVED); the source takes the epoch after that one and runs on.
 */

import type { ProcessEnd } from '../base/process-end.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import type { ModeName } from './modes.ts';
import type { CarriedDatagram, PageRange, PageServer } from './ports.ts';

/** Of the protocol. Both sides must say the same. */
export const PROTOCOL_VERSION = 7;

/** Page size of x86-64: pages are moved in whole ones. */
export const PAGE_BYTES = 4096;
/** Most ranges in one PAGES message, and in one call of readPages: IOV_MAX of process_vm_readv(2). */
export const MAX_RANGES = 1024;
/** Most bytes of pages in one PAGES message, of an image in one IMAGE message, of datagrams in one DATAGRAMS message. */
export const MAX_PART_BYTES = 1 << 20;
/** Most bytes of any encoded message. A channel can lay out its buffers with it. */
export const MAX_MESSAGE_BYTES = MAX_PART_BYTES + (64 << 10);
/** Most bytes of a process image, pages not counted. */
export const MAX_IMAGE_BYTES = 256 << 20;
export const MAX_DATAGRAM_BYTES = 65_535;
/** Most IP packets that one datagram can have come in: fragments of 8 bytes. */
export const MAX_FRAGMENTS = 8_192;
/** Most entries in one LOG message. */
export const MAX_LOG_ENTRIES = 1024;
/** Most bytes of a name, and of a sentence in a failure. */
export const MAX_NAME_BYTES = 256;
export const MAX_SENTENCE_BYTES = 4096;

/** In RECEIVED: how many there were is not known any more, so that none can be taken again. */
export const DATAGRAMS_UNKNOWN = 0xffff_ffff;

/** Tag numbers: 1 to 63 from the source, 65 to 127 from the destination. A number is never given a second meaning. */
export const SOURCE_TAGS = {
  HELLO: 1,
  IMAGE: 2,
  PAGES: 3,
  END: 4,
  TAKE: 5,
  DATAGRAMS: 6,
  DRAINED: 7,
  ABORT: 8,
  HAND_OVER: 9,
  LOG: 10,
  LOG_END: 11,
  PAGE_SERVER: 12,
  MISSING: 13,
  OWN: 14,
  FREED: 15,
  SKETCH: 16,
} as const satisfies Record<SourceMessage['type'], number>;

export const DESTINATION_TAGS = {
  WELCOME: 65,
  READY: 66,
  OWNED: 67,
  HANDED_OVER: 68,
  FAILED: 69,
  RECEIVED: 70,
  GIVEN_BACK: 71,
  REPORT: 72,
  FILLING: 73,
  FILLED: 74,
  LED: 75,
  TAKEN: 76,
  SKETCHED: 77,
} as const satisfies Record<DestinationMessage['type'], number>;

export type HelloMessage = {
  readonly type: 'HELLO';
  readonly version: number;
  readonly migrationId: string;
  readonly sandbox: string;
  readonly mode: ModeName;
  readonly source: string;
  readonly destination: string;
  readonly epoch: bigint;
};
/** `bytes` stand at `offset` of the image; parts come in order. */
export type ImageMessage = {
  readonly type: 'IMAGE';
  readonly totalBytes: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
};
/** The same of a sketch: the process as it was shortly before it is stopped, as far as that can be seen from outside. */
export type SketchMessage = Omit<ImageMessage, 'type'> & { readonly type: 'SKETCH' };
/** `bytes` is the memory of `ranges`, one behind another. */
export type PagesMessage = {
  readonly type: 'PAGES';
  readonly ranges: readonly PageRange[];
  readonly bytes: Uint8Array;
};
export type EndMessage = { readonly type: 'END'; readonly pageBytes: bigint };
export type TakeMessage = { readonly type: 'TAKE'; readonly expectedEpoch: bigint };
export type DatagramsMessage = {
  readonly type: 'DATAGRAMS';
  /** Number of the first one, counted from 0 over the whole migration. */
  readonly first: number;
  readonly datagrams: readonly CarriedDatagram[];
};
export type DrainedMessage = { readonly type: 'DRAINED'; readonly total: number };
export type AbortMessage = FailureText & { readonly type: 'ABORT' };
export type HandOverMessage = { readonly type: 'HAND_OVER'; readonly version: number; readonly migrationId: string };
/** What has gone into the process at the source and come out of it since the snapshot, in order. */
export type LogMessage = { readonly type: 'LOG'; readonly entries: readonly LogEntry[] };
/** The process at the source is stopped, and this is how much the whole log holds. */
export type LogEndMessage = { readonly type: 'LOG_END'; readonly inputs: number; readonly outputs: number };

/** Where the destination gets the pages that come later. */
export type PageServerMessage = { readonly type: 'PAGE_SERVER' } & PageServer;
/** Pages that come later. At most {@link MAX_RANGES}. */
export type MissingMessage = { readonly type: 'MISSING'; readonly ranges: readonly PageRange[] };
/** Pages with contents when the process was stopped: of those that came before, all others are gone. */
export type OwnMessage = { readonly type: 'OWN'; readonly ranges: readonly PageRange[] };
/** The process at the source has ended. */
export type FreedMessage = { readonly type: 'FREED' };

export type SketchedMessage = { readonly type: 'SKETCHED' };
export type WelcomeMessage = { readonly type: 'WELCOME'; readonly version: number };
/** Durations by the destination's clock. */
export type ReadyMessage = {
  readonly type: 'READY';
  readonly beginMicros: number;
  /** From the process being begun to its last page being written. */
  readonly pagesMicros: number;
  readonly finishMicros: number;
};
export type OwnedMessage = {
  readonly type: 'OWNED';
  readonly epoch: bigint;
  /** From TAKE to the record's answer. */
  readonly takeMicros: number;
  /** Until it could answer: from there, or, replicated, from the end of the log where that came later. */
  readonly runMicros: number;
  /** Replicated: inputs that the copy was given, outputs that were compared, and those that left when it came to own. */
  readonly replayed: number;
  readonly compared: number;
  readonly released: number;
};
/** Replicated: the record names the destination. The source answers on, until it has cut its process off. */
export type TakenMessage = { readonly type: 'TAKEN' };
/** How far the silent copy has got. */
export type ReportMessage = {
  readonly type: 'REPORT';
  readonly injected: number;
  readonly compared: number;
  readonly held: number;
};
/** So many pages are missing, of a process that runs. */
export type FillingMessage = { readonly type: 'FILLING'; readonly missingPages: number };
/** No page is missing any more, and nobody listens for those who would touch one; or there is nobody any more who could. */
export type FilledMessage = {
  readonly type: 'FILLED';
  /** How often somebody had to wait for a page. */
  readonly faults: number;
  /** Pages that came because somebody waited, with those around them, and those that came in the background. */
  readonly faultedPages: number;
  readonly filledPages: number;
  /** Of those who had to wait: how long, by half of them. */
  readonly faultMicros: number;
  /** From the process being let run to its last page being there. */
  readonly fillMicros: number;
  /** The process has ended before all of its memory was there: it misses nothing any more. */
  readonly ended: ProcessEnd | undefined;
};
export type HandedOverMessage = { readonly type: 'HANDED_OVER'; readonly injected: number; readonly held: number };
/** The network leads to the destination what it led to the source. */
export type LedMessage = { readonly type: 'LED' };
export type FailedMessage = FailureText & { readonly type: 'FAILED' };
/** `datagrams` have been taken; the next one is expected. Or {@link DATAGRAMS_UNKNOWN}. */
export type ReceivedMessage = { readonly type: 'RECEIVED'; readonly epoch: bigint; readonly datagrams: number };
/** `epoch` is the one that the destination has taken and does not use. */
export type GivenBackMessage = FailureText & { readonly type: 'GIVEN_BACK'; readonly epoch: bigint };

/** A ComicranError on the wire; `code` may be one that this version does not know. */
export type FailureText = { readonly code: string; readonly message: string; readonly hint: string };

export type SourceMessage =
  | HelloMessage
  | ImageMessage
  | PagesMessage
  | EndMessage
  | TakeMessage
  | DatagramsMessage
  | DrainedMessage
  | AbortMessage
  | HandOverMessage
  | LogMessage
  | LogEndMessage
  | PageServerMessage
  | MissingMessage
  | OwnMessage
  | FreedMessage
  | SketchMessage;

export type DestinationMessage =
  | WelcomeMessage
  | ReadyMessage
  | OwnedMessage
  | HandedOverMessage
  | FailedMessage
  | ReceivedMessage
  | GivenBackMessage
  | ReportMessage
  | FillingMessage
  | FilledMessage
  | LedMessage
  | TakenMessage
  | SketchedMessage;

export type Message = SourceMessage | DestinationMessage;
