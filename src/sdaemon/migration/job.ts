/** What goes between a daemon's main thread and the worker thread that carries out a migration. All of it can be cloned. */
import type { Cgroup } from '../../linux/cgroup.ts';
import type { JournalEntry, Migration } from '../../migration/journal.ts';
import type { Moved, Owned } from '../../migration/outcome.ts';
import type { OwnershipRecord, TakeoverOrder } from '../../migration/ports.ts';
import type { SnapshotChoice, SnapshotWay } from '../../migration/snapshot-way.ts';
import type { PagingPort } from '../paging/paging.ts';
import type { RecordAddress } from '../record/fast-record.ts';
import type { CarriedError } from './carried-error.ts';
import type { FaultSource } from './faults.ts';
import type { Platform } from './platform.ts';

/** A pipe of the sandbox's output: the process holds one end, jailor the other. */
export type InheritedPipe = { readonly name: 'stdout' | 'stderr'; readonly inode: number };

/** Where the destination listens for the state, and the key of the channel (32 bytes). */
export type ChannelAddress = { readonly address: string; readonly port: number; readonly key: Uint8Array };

export type SourceJob = {
  readonly side: 'source';
  readonly migration: Migration;
  /** Of the process that moves, as this machine sees it. */
  readonly hostPid: number;
  /** Of the sandbox on this machine: taken away once the other one owns. */
  readonly route: { readonly address: string; readonly linkName: string };
  readonly inherited: readonly InheritedPipe[];
  readonly written: readonly string[];
  /** Where the sandbox can write to files of this machine. */
  readonly machineFiles: readonly string[];
  /** Of the sandbox. */
  readonly cgroup: Cgroup | null;
  readonly channel: ChannelAddress;
  /** Of this machine, for others. */
  readonly address: string;
  readonly deadlineMs: number;
  /** sdaemon's `--patience`. */
  readonly patience: number;
  /** As of a role. */
  readonly outputRule: boolean;
  readonly mayBeTakenOver: boolean;
  readonly snapshot: SnapshotChoice;
};

/** A sandbox without a process, as this machine sees it. */
export type Skeleton = {
  readonly initPid: number;
  /** The machine's end of the sandbox's link. */
  readonly link: string;
  readonly tag: string;
  readonly address: string;
};

export type DestinationJob = {
  readonly side: 'destination';
  readonly migration: Migration;
  readonly skeleton: Skeleton;
  readonly hatcheryPid: number;
  readonly listen: { readonly address: string; readonly key: Uint8Array };
  /** Local ports whose answers are not compared. */
  readonly uncomparedPorts: readonly number[];
  /** A whole copy is kept when nothing is heard of the source any more; an order to take over may come. */
  readonly keepsCopy: boolean;
  readonly deadlineMs: number;
  /** sdaemon's `--patience`. */
  readonly patience: number;
};

/** A look at a process that is to move: can it, and what would move? Changes nothing. */
export type InspectJob = {
  readonly side: 'inspect';
  readonly hostPid: number;
  readonly inherited: readonly InheritedPipe[];
  /** Where the sandbox has file systems of its own in memory. */
  readonly written: readonly string[];
  /** The way of taking a snapshot that an operator has asked for. */
  readonly snapshot: SnapshotWay | undefined;
};

/** A migration that an earlier run of the daemon left unfinished. */
export type RecoverJob = {
  readonly side: 'recover';
  readonly entry: JournalEntry;
  /** Of the process that the entry speaks of; undefined: it never was complete, or has ended. */
  readonly hostPid: number | undefined;
  /** Of the sandbox: an earlier daemon may have left it frozen. */
  readonly cgroup: Cgroup | null;
  /** Where the destination listened. */
  readonly channel: ChannelAddress | undefined;
  /** Of this machine, for others. */
  readonly address: string;
  /** Destination: of the skeleton. */
  readonly skeleton: Skeleton | undefined;
  /** sdaemon's `--patience`. */
  readonly patience: number;
};

export type Job = (SourceJob | DestinationJob | InspectJob | RecoverJob) & {
  /** State directory of the daemon; the journal lies in it. */
  readonly stateDirectory: string;
  /** A quick way to the record of this migration, where there is one. */
  readonly record?: RecordAddress | undefined;
};

/** Kernel and CPU as a process gets to know them: the destination must have the same. */
export type Inspection = {
  readonly memoryBytes: number;
  /** Of its own, not in huge pages. */
  readonly smallPageBytes: number;
  readonly platform: Platform;
  /** How a snapshot would be taken. */
  readonly snapshot: SnapshotChoice;
};

type Failed = {
  readonly outcome: 'stayed' | 'taken-over' | 'discarded' | 'halted';
  readonly error: CarriedError;
  readonly epoch: bigint | undefined;
  /** Source: the process has ended by itself, or was ended by somebody else. */
  readonly ended?: boolean;
};

/** How a job has ended; errors as they cross threads. `leftovers`: what did not go as it should and changes nothing. */
export type JobOutcome = (
  | Omit<Moved, 'leftovers'>
  | (Omit<Owned, 'leftovers'> & { readonly hostPid: number })
  | Failed
  | ({ readonly outcome: 'inspected' } & Inspection)
  | { readonly outcome: 'recovered'; readonly end: RecoveredEnd }
) & { readonly leftovers: readonly CarriedError[] };

/** `moved`, `discarded`: there is no process here any more. `stayed`, `owned`: it runs here. */
export type RecoveredEnd = 'moved' | 'stayed' | 'owned' | 'discarded' | 'halted';

export type JobProgress = {
  readonly phase: string;
  readonly atMicros: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly note?: string;
  /** How far a silent copy is behind, in datagrams. */
  readonly lag?: { readonly inputs: number; readonly outputs: number };
  /** Of a process that runs at the destination: bytes that have not come yet. */
  readonly missingBytes?: number;
};

/** Given to a worker thread at its start. */
export type WorkerData = { readonly fault: FaultSource | undefined; readonly paging: PagingPort };

export type ToWorker =
  | { readonly type: 'job'; readonly job: Job }
  | { readonly type: 'abort' }
  /** To a destination that keeps its copy. */
  | { readonly type: 'order'; readonly order: TakeoverOrder }
  /** Answer to a `take`, a `give`, a `take-over` or a `look`; to a `lead`, a `keep` or a `drop`, without a record. */
  | { readonly type: 'record'; readonly id: number; readonly record: OwnershipRecord | undefined }
  | { readonly type: 'no-record'; readonly id: number; readonly error: CarriedError };

export type FromWorker =
  /** Asks the main thread, which is connected to jailor, to have a descriptor kept there, or not any more. */
  | { readonly type: 'keep'; readonly id: number; readonly name: string; readonly descriptor: number }
  | { readonly type: 'drop'; readonly id: number; readonly name: string }
  /** `wake`: a descriptor (linux/wake.ts) to signal behind each message. */
  | { readonly type: 'ready'; readonly wake: number }
  | { readonly type: 'listening'; readonly port: number }
  /** A process that misses pages runs here and answers; the job ends when none is missing. */
  | { readonly type: 'running'; readonly hostPid: number; readonly epoch: bigint }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'progress'; readonly progress: JobProgress }
  /** Asks the main thread, which has the connections, for the compare-and-set: for this machine, or for the other one. */
  | { readonly type: 'take' | 'give'; readonly id: number; readonly expectedEpoch: bigint }
  /** Likewise: without the source, and for the record as it stands. */
  | { readonly type: 'take-over'; readonly id: number; readonly expectedEpoch: bigint; readonly order: TakeoverOrder }
  | { readonly type: 'look'; readonly id: number }
  /** Likewise, for the packets of a sandbox that this machine owns. */
  | { readonly type: 'lead'; readonly id: number }
  | { readonly type: 'ended'; readonly outcome: JobOutcome }
  /** The worker itself went wrong: a bug. It can still be that the process was touched. */
  | { readonly type: 'broken'; readonly error: CarriedError };
