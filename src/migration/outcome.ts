/** How a migration has ended on a side. A role does not throw: each of its ends says where the process is. */
import { ComicranError, messageOf } from '../base/errors.ts';
import type { FillEnd } from './fill-destination.ts';
import type { FilledMessage } from './messages.ts';
import type { ModeName } from './modes.ts';
import type { DestinationPhase, PhaseTime, SourcePhase } from './phases.ts';
import type { SnapshotChoice } from './snapshot-way.ts';

/** The destination's own durations, by its clock, in microseconds. */
export type DestinationTimes = {
  readonly beginMicros: number;
  readonly pagesMicros: number;
  readonly finishMicros: number;
  readonly takeMicros: number;
  readonly runMicros: number;
};

/** What a replicated migration has cost, and what it rests on. */
export type Replication = {
  /** How long the snapshot stopped the process. */
  readonly freezeMicros: number;
  /** How it was taken, which need not be the way that was meant. */
  readonly choice: SnapshotChoice;
  /** From the stop of the process to its first own answer at the destination; undefined where OWNED has not arrived. */
  readonly cutoverMicros: number | undefined;
  /** The most datagrams, in and out, that the copy was behind. */
  readonly lagMax: number;
  /** Datagrams that the copy was given before it came to own. */
  readonly replayed: number;
  /** Answers in which it was compared with the process. */
  readonly compared: number;
  /** Answers of its own that it had ready when it came to own. */
  readonly released: number;
};

/** The destination owns. There is no process at the source any more, and its sandbox can be taken down. */
export type Moved = {
  readonly outcome: 'moved';
  readonly mode: ModeName;
  /** Of the record now. */
  readonly epoch: bigint;
  readonly totalMicros: number;
  /**
   * From the freeze's first interrupt until the source knew that the destination's process runs: an upper bound of the
   * time in which nobody ran, by one clock. It is more than that time by OWNED's way over the network, and by much more
   * only where OWNED did not arrive and the source had to ask. Replicated: the snapshot's freeze and the cutover together.
   */
  readonly stopMicros: number;
  /** Undefined in modes in which the process is stopped once, to the end. */
  readonly replication: Replication | undefined;
  /** Pages of 4 KiB, and their bytes. */
  readonly pages: number;
  readonly pageBytes: number;
  readonly imageBytes: number;
  readonly datagrams: {
    /** Read from the source's sockets and sent. */
    readonly carried: number;
    /** Never read: a full receive queue dropped them. */
    readonly dropped: number;
    /** True where the destination has said that it has every carried one. */
    readonly confirmed: boolean;
  };
  /** Postcopy: how its memory came to the destination while it ran there. */
  readonly filled: FilledMessage | undefined;
  /** Precopy, and replicated with a tracked snapshot: how often its memory was sent while it ran here. */
  readonly rounds: number | undefined;
  /** Where the time of the cutover went, for people. */
  readonly marks: string;
  readonly phases: readonly PhaseTime<SourcePhase>[];
  /** Undefined where the destination's own word has not arrived, but the record says that it owns. */
  readonly destination: DestinationTimes | undefined;
  /** What did not go as it should and changes nothing of the outcome. */
  readonly leftovers: readonly Error[];
};

/** The source's process runs on as if nothing had happened; nothing runs at the destination, nor ever will. */
export type Stayed = {
  readonly outcome: 'stayed';
  /** There is no process any more that could run on: it has ended, which no migration does. The error is process.gone. */
  readonly ended: boolean;
  readonly error: ComicranError;
  /** Of the record now: another one than before where the source had to fence the destination. */
  readonly epoch: bigint;
  /** How long the process was stopped for nothing; 0 where it was not. */
  readonly stopMicros: number;
  readonly phases: readonly PhaseTime<SourcePhase>[];
  readonly leftovers: readonly Error[];
};

/** The process is stopped and stays so, and the journal's entry stays: an operator must look. */
export type Halted<Phase extends string> = {
  readonly outcome: 'halted';
  readonly error: ComicranError;
  readonly phases: readonly PhaseTime<Phase>[];
  readonly leftovers: readonly Error[];
};

/** The destination was made to take over while nothing was heard of this machine. There is no process here any more. */
export type TakenOver = {
  readonly outcome: 'taken-over';
  /** Of the record now. */
  readonly epoch: bigint;
  /** Why the migration had failed here, and what came of that. */
  readonly error: ComicranError;
  readonly phases: readonly PhaseTime<SourcePhase>[];
  readonly leftovers: readonly Error[];
};

export type SourceOutcome = Moved | Stayed | TakenOver | Halted<SourcePhase>;

/** What a destination that has taken over from a silent source can say of it. */
export type Takeover = {
  /** From the last word of the source to the moment from which the copy answered: nobody may have answered meanwhile. */
  readonly gapMicros: number;
  /** Of the copy: datagrams that it was given, and answers in which it was compared with the process. */
  readonly replayed: number;
  readonly compared: number;
  /** Answers that it had ready beyond the log, and has sent. */
  readonly released: number;
  /**
   * Of those, how many the source may have sent as well. What else it had taken or sent nobody here can know; and an answer
   * that the copy was still making at that moment is not among them.
   */
  readonly mayRepeat: number;
};

/** The process runs here, and this machine owns. */
export type Owned = {
  readonly outcome: 'owned';
  readonly epoch: bigint;
  readonly datagrams: {
    readonly injected: number;
    readonly held: number;
    /** True where the source has said that there are no more. */
    readonly complete: boolean;
  };
  /** Postcopy: how the rest of its memory came, and how long that took from its first instruction on. */
  readonly filled: FillEnd | undefined;
  /** Where it has come to own without its source. */
  readonly takeover: Takeover | undefined;
  /** Where the time of taking over went, for people. */
  readonly marks: string;
  readonly phases: readonly PhaseTime<DestinationPhase>[];
  readonly leftovers: readonly Error[];
};

/** There is no process here; the skeleton of its sandbox can be taken down. */
export type Discarded = {
  readonly outcome: 'discarded';
  readonly error: ComicranError;
  readonly phases: readonly PhaseTime<DestinationPhase>[];
  readonly leftovers: readonly Error[];
};

export type DestinationOutcome = Owned | Discarded | Halted<DestinationPhase>;

/** A failure with where it happened in front of it, and behind it what that has led to; its code and hint are the cause's. */
export function withPlace(cause: unknown, place: string, outcome?: string): ComicranError {
  const known = cause instanceof ComicranError ? cause : undefined;
  const details = known?.hint === undefined ? { cause } : { cause, hint: known.hint };
  const message = `${place}: ${messageOf(cause)}${outcome === undefined ? '' : `; ${outcome}`}`;
  return new ComicranError(known?.code ?? 'migration.failed', message, details);
}
