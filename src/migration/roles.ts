/** What a role works with, and the part of it that is another one in each mode. */
import type { Migration } from './journal.ts';
import type { Line } from './line.ts';
import type { DestinationMessage, ReadyMessage, SourceMessage } from './messages.ts';
import type { DestinationPhase, PhaseLog, Progress, SourcePhase } from './phases.ts';
import type { DestinationPorts, FrozenProcess, RestoringProcess, SourcePorts } from './ports.ts';
import type { Deadline, Deadlines } from './waiting.ts';

export type RoleOptions<Phase extends string> = {
  readonly deadlines?: Partial<Deadlines>;
  /** Aborts the migration where TAKE has not been sent, or has not been acted on; ignored afterwards. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress<Phase>) => void;
  /** Bytes of pages in one message, a multiple of 4096, at most MAX_PART_BYTES. */
  readonly chunkBytes?: number;
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
export type DestinationContext = Context<DestinationPorts, DestinationPhase>;

/** What is left of it behind TAKE, also for a daemon that has started again. */
export type SourceAfter = Context<Omit<SourcePorts, 'process'>, SourcePhase>;
export type DestinationAfter = Context<Omit<DestinationPorts, 'engine' | 'ownership'>, DestinationPhase>;

/** What a mode may do before TAKE. Whatever fails, the role puts everything back. */
export type SourceBefore = SourceContext & {
  readonly line: SourceLine;
  /** Until TAKE must have been sent. */
  readonly budget: Deadline;
  readonly chunkBytes: number;
  /** Stops the process. The role lets it run on should anything fail. */
  readonly freeze: () => Promise<FrozenProcess>;
};

export type DestinationBefore = DestinationContext & {
  readonly line: DestinationLine;
  /** Starts to build the process. The role destroys it should anything fail. */
  readonly begin: (image: Uint8Array) => Promise<RestoringProcess>;
};

/** The source's half of a mode. */
export interface SourceMode {
  /**
   * Brings everything over, between WELCOME and TAKE.
   * @returns the process, frozen, and what the destination said when it had it whole.
   */
  send(before: SourceBefore): Promise<{ readonly frozen: FrozenProcess; readonly ready: ReadyMessage }>;
}

/** The destination's half of a mode. */
export interface DestinationMode {
  /** Takes everything in, between WELCOME and READY. @returns the process, complete and stopped; READY is not sent. */
  receive(before: DestinationBefore): Promise<{ readonly process: RestoringProcess; readonly ready: ReadyMessage }>;
}
