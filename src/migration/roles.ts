/** What a role works with, and the part of it that is another one in each mode. */
import type { Migration } from './journal.ts';
import type { Line } from './line.ts';
import type { DestinationMessage, OwnedMessage, ReadyMessage, SourceMessage, TakeMessage } from './messages.ts';
import type { DestinationPhase, PhaseLog, Progress, SourcePhase } from './phases.ts';
import type {
  BeginOptions,
  DestinationPorts,
  Fill,
  FrozenProcess,
  RestoringProcess,
  SourcePorts,
  StoppedProcess,
  TakeoverOrder,
} from './ports.ts';
import type { SnapshotChoice } from './snapshot-way.ts';
import type { Deadline, Deadlines } from './waiting.ts';

export type RoleOptions<Phase extends string> = {
  /**
   * Source, replicated: TAKE is said only when the copy has had the whole log and answered it alike, so that behind it not
   * even the death of the source's machine can lose or repeat an answer. The cutover takes longer by the record's change.
   */
  readonly outputRule?: boolean;
  /** Source, replicated: how the snapshot is to be taken, where it can be; absent: by a fork. */
  readonly snapshot?: SnapshotChoice;
  /**
   * Source, replicated: the destination keeps a whole copy where nothing is heard of this machine any more, and may be told to
   * take over. Then a source that has not heard that the copy is gone asks the record what has become of its process.
   */
  readonly mayBeTakenOver?: boolean;
  /** Destination, replicated: comes when it is to take over. Absent: a copy whose source falls silent before TAKE is destroyed. */
  readonly ordered?: Promise<TakeoverOrder>;
  readonly deadlines?: Partial<Deadlines>;
  /** Aborts the migration where TAKE has not been sent, or has not been acted on; ignored afterwards. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress<Phase>) => void;
  /** Bytes of pages in one message, a multiple of 4096, at most MAX_PART_BYTES. */
  readonly chunkBytes?: number;
  /**
   * Destination: told when the process runs here and answers, and the packets have been let go; in `postcopy` the rest of
   * its memory is still on its way then.
   */
  readonly onRunning?: (epoch: bigint) => void;
};

type Context<Ports, Phase extends string> = {
  readonly ports: Ports;
  readonly migration: Migration;
  readonly deadlines: Deadlines;
  readonly phases: PhaseLog<Phase>;
  readonly signal: AbortSignal | undefined;
};

export type SourceLine = Line<SourceMessage, DestinationMessage>;
export type DestinationLine = Line<DestinationMessage, SourceMessage>;

export type SourceContext = Context<SourcePorts, SourcePhase>;
export type DestinationContext = Context<DestinationPorts, DestinationPhase> & {
  /** As in {@link RoleOptions}. */
  readonly ordered: Promise<TakeoverOrder> | undefined;
};

/** What is left of it behind TAKE, also for a daemon that has started again. */
export type SourceAfter = Context<Omit<SourcePorts, 'process' | 'traffic' | 'copying'>, SourcePhase>;
export type DestinationAfter = Context<
  Omit<DestinationPorts, 'engine' | 'ownership' | 'replay' | 'paging'>,
  DestinationPhase
>;

/** What a mode may do before TAKE. Whatever fails, the role puts everything back. */
export type SourceBefore = SourceContext & {
  readonly line: SourceLine;
  /** Until TAKE must have been sent. */
  readonly budget: Deadline;
  readonly chunkBytes: number;
  /** As in {@link RoleOptions}. */
  readonly outputRule: boolean;
  readonly snapshot: SnapshotChoice;
  /** Stops the process. The role lets it run on should anything fail. */
  readonly freeze: () => Promise<FrozenProcess>;
  /** From the next message on the destination may have a whole copy. */
  readonly noteFollowed: () => Promise<void>;
  /** The process is stopped, or is not heard any more, from now on. */
  readonly noteStop: () => void;
  /** Done when the migration has ended here, however it has. */
  readonly onEnd: (what: string, step: () => void | Promise<void>) => void;
};

export type DestinationBefore = DestinationContext & {
  readonly line: DestinationLine;
  /** Starts to build the process. The role destroys it should anything fail. */
  readonly begin: (image: Uint8Array, options: BeginOptions) => Promise<RestoringProcess>;
};

/** Everything but the last is with the destination. */
export type SourcePrepared = {
  readonly imageBytes: number;
  readonly pageBytes: number;
  readonly ready: ReadyMessage;
  /** Where the process goes on in between: how long the snapshot stopped it, and the most that its copy was behind. */
  readonly snapshot:
    | { readonly freezeMicros: number; readonly lagMax: number; readonly choice: SnapshotChoice }
    | undefined;
  /** Of the process, from {@link stop} or {@link conclude} on. */
  readonly process: StoppedProcess;
  /** Before TAKE: makes sure that the process is stopped, in a way that outlives this program. Absent: it goes on. */
  readonly stop?: () => void | Promise<void>;
  /** Where its memory was sent while it ran: how often. */
  readonly rounds?: number;
  /**
   * Behind TAKE: stops it, when the record names the destination, and tells the destination what is still to be told.
   * @returns what the destination has answered already instead of waiting for that
   */
  readonly conclude?: () => Promise<DestinationMessage | undefined>;
  /** When the destination owns, and the process here is still needed for what comes to it. */
  readonly given?: () => Promise<void>;
};

/** The source's half of a mode. */
export interface SourceMode {
  /** Brings over what can be brought, between WELCOME and TAKE. */
  prepare(before: SourceBefore): Promise<SourcePrepared>;
}

/** What a silent copy had done when it was let out; all 0 where there was none. */
export type Opened = Pick<OwnedMessage, 'replayed' | 'compared' | 'released'>;

/** A whole copy that is to take over from a source which is not heard any more. */
export type Kept = {
  readonly order: TakeoverOrder;
  /** When the source was last heard, by this machine's clock. */
  readonly heardMicros: number;
  /** The source had ended its log: it has sent nothing that the copy does not know of. */
  readonly hasWholeLog: boolean;
};

/** The process is complete, and does not answer; TAKE has come, or it is to take over. */
export type DestinationPrepared = {
  readonly process: RestoringProcess;
  readonly take: TakeMessage | Kept;
  /**
   * What is still to be heard behind TAKE, while the record is being changed. Until it has resolved the process cannot
   * be let out.
   * @param isTaken whether the source has been told that it may end its log
   * @returns when the end of the log came. @throws ComicranError what does not fit; peer.died, deadline: the end of the log
   * is not known
   */
  readonly conclude?: (isTaken: () => boolean) => Promise<number>;
  /** The process answers from here on. */
  readonly open: () => Opened | Promise<Opened>;
  /** What can wait until the source has heard that it does. May be repeated where it has failed. */
  readonly opened?: () => void | Promise<void>;
  /** Postcopy: the rest of its memory, on its way. */
  readonly fill?: Fill;
  /** Packets that came here directly need not wait for those that the source carries over. */
  readonly passDirectly: boolean;
};

/** The destination's half of a mode. */
export interface DestinationMode {
  /** Takes everything in, says READY, and waits for TAKE. */
  receive(before: DestinationBefore): Promise<DestinationPrepared>;
}
