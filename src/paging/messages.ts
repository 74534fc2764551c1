/**
 * What a destination and the page server of the source say to each other, over two connections: one for pages that
 * somebody waits for, one for the background fill, so that the former are never behind much of the latter.
 *
 *     destination                                        source
 *       │ ── OPEN   version, what this connection is for ──► │
 *       │ ◄────────────────────────────────────── OPENED ─── │
 *       │ ── WANT   runs of pages ─────────────────────────► │
 *       │ ◄──────────────── PAGES   the runs, the bytes ──── │   any number of times, each way
 *       │ ── DONE ─────────────────────────────────────────► │   nothing is missing any more
 *       │ ◄───────────────────────────────────── REFUSED ─── │   at any moment: it cannot be served
 *
 * On the connection for faults the first run of a WANT is what is waited for: it may be answered by itself, and the others
 * together behind it.
 * The numbers are part of the format; they are in codec.ts on the wire.
 */
import type { PageRun } from './page-range.ts';

export const PROTOCOL_VERSION = 1;

/** Of a PAGES message, and runs of a message. */
export const MAX_PAGES = 128;
export const MAX_RUNS = 128;
export const MAX_TEXT_BYTES = 2_000;
/** Above the longest PAGES. */
export const MAX_MESSAGE_BYTES = 4096 * MAX_PAGES + 12 * MAX_RUNS + 64;

export const DESTINATION_TAGS = { OPEN: 1, WANT: 2, DONE: 3 } as const;
export const SOURCE_TAGS = { OPENED: 65, PAGES: 66, REFUSED: 67 } as const;
/** What a connection is for. */
export const PURPOSES = { faults: 1, fill: 2 } as const;

export type DestinationMessage =
  | { readonly type: 'OPEN'; readonly version: number; readonly purpose: keyof typeof PURPOSES }
  | { readonly type: 'WANT'; readonly runs: readonly PageRun[] }
  | { readonly type: 'DONE' };

export type SourceMessage =
  | { readonly type: 'OPENED'; readonly version: number }
  | { readonly type: 'PAGES'; readonly runs: readonly PageRun[]; readonly bytes: Uint8Array }
  | { readonly type: 'REFUSED'; readonly code: string; readonly message: string };
