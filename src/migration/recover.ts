/**
 * What a daemon that starts again does with a migration that it finds in its journal. Neither side needs the other one
 * for it, nor the manager: only the record.
 *
 * Promise: afterwards the process runs here and this machine owns, or there is no process here; or, where the outcome is
 * `halted`, it is stopped. The journal's entry is cleared unless something is left to be done.
 */
import type { ComicranError } from '../base/errors.ts';
import { endOwned } from './end-destination.ts';
import type { FillEnd } from './fill-destination.ts';
import { releasePackets, sayTaken } from './hand-over-destination.ts';
import { endGiven } from './hand-over-source.ts';
import { advance, type DestinationEntry, type SourceEntry } from './journal.ts';
import { Leftovers } from './leftovers.ts';
import { leadsLate } from './modes.ts';
import { resolveOffer } from './offer.ts';
import { type Moved, withPlace } from './outcome.ts';
import { contradiction, decideDestination } from './ownership.ts';
import { type DestinationPhase, PhaseLog, type SourcePhase } from './phases.ts';
import type { DestinationPorts, Fill, RestoredProcess, SourcePorts, StoppedProcess } from './ports.ts';
import type { RoleOptions, SourceAfter } from './roles.ts';
import { giveBack, lead, settle } from './settle.ts';
import { takeOverRecord } from './take-over.ts';
import { DEFAULT_DEADLINES } from './waiting.ts';

export type SourceRecoveryPorts = Omit<SourcePorts, 'process' | 'traffic' | 'copying'> & {
  /** The sandbox's root process, whatever state it is in. */
  readonly process: StoppedProcess;
};

export type DestinationRecoveryPorts = Omit<DestinationPorts, 'engine' | 'accept' | 'replay' | 'paging'> & {
  /** Where the source comes back to. */
  readonly accept: DestinationPorts['accept'];
  readonly paging: Pick<DestinationPorts['paging'], 'adopt'>;
  /** The gate of a silent copy: taken away, and what it held with it. May be repeated. */
  readonly replay: Pick<DestinationPorts['replay'], 'discard'>;
  /** How long ago the journal's entry was written. */
  readonly ageMs: number;
  /** The sandbox's root process, however far it was built, or what is left of it. */
  readonly process: RestoredProcess;
};

type End = { readonly leftovers: readonly Error[] };

export type SourceRecovery = End &
  (
    | { readonly outcome: 'moved'; readonly epoch: bigint; readonly datagrams: Moved['datagrams'] }
    | { readonly outcome: 'stayed'; readonly epoch: bigint }
    | { readonly outcome: 'halted'; readonly error: ComicranError }
  );

export type DestinationRecovery = End &
  (
    | {
        readonly outcome: 'owned';
        readonly epoch: bigint;
        readonly held: number;
        /** Postcopy: how the rest of its memory has come. */
        readonly filled: FillEnd | undefined;
      }
    | { readonly outcome: 'discarded' }
    | { readonly outcome: 'halted'; readonly error: ComicranError }
  );

type RecoveryOptions<Phase extends string> = Pick<RoleOptions<Phase>, 'deadlines' | 'onProgress' | 'onRunning'>;

export async function recoverSource(
  ports: SourceRecoveryPorts,
  entry: SourceEntry,
  options: RecoveryOptions<SourcePhase> = {},
): Promise<SourceRecovery> {
  const { migration } = entry;
  const context: SourceAfter = {
    ports,
    migration,
    deadlines: { ...DEFAULT_DEADLINES, ...options.deadlines },
    phases: new PhaseLog(ports.clock, options.onProgress),
    signal: undefined,
  };
  const leftovers = new Leftovers(ports.clock, context.deadlines);
  const halted = (error: ComicranError): SourceRecovery => ({
    outcome: 'halted',
    error,
    leftovers: leftovers.failures,
  });

  const isPaged = migration.mode === 'postcopy';
  const runOn = async (epoch: bigint): Promise<SourceRecovery> => {
    if (isPaged) await leftovers.tidy('serving no more pages', () => ports.paging.close());
    if (!(await leftovers.tidy('letting the process run on', () => ports.process.resume())))
      return halted(withPlace(leftovers.failures.at(-1), `sandbox ${migration.sandbox} belongs here and does not run`));
    await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
    return { outcome: 'stayed', epoch, leftovers: leftovers.failures };
  };

  if (entry.stage === 'sending') return runOn(migration.epoch);
  context.phases.enter('commit');
  // Whether the destination owns or not: if it does, it may be waiting for a page.
  if (isPaged && entry.stage !== 'filled')
    await leftovers.result('opening the page server', () => ports.paging.serve());
  const verdict = await resolveOffer(context, entry, undefined);
  switch (verdict.kind) {
    case 'kept':
      return runOn(verdict.epoch);
    case 'halted':
      return halted(verdict.reason);
    case 'given': {
      const { datagrams, halted: reason } = await endGiven(context, entry, verdict, ports.process, leftovers);
      if (reason !== undefined) return halted(reason);
      if (isPaged) await leftovers.tidy('serving no more pages', () => ports.paging.close());
      return { outcome: 'moved', epoch: verdict.epoch, datagrams, leftovers: leftovers.failures };
    }
  }
}

export async function recoverDestination(
  ports: DestinationRecoveryPorts,
  entry: DestinationEntry,
  options: RecoveryOptions<DestinationPhase> = {},
): Promise<DestinationRecovery> {
  const { migration } = entry;
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  const phases = new PhaseLog(ports.clock, options.onProgress);
  const leftovers = new Leftovers(ports.clock, deadlines);
  phases.enter('take');
  const world = { ownership: ports.ownership, clock: ports.clock, deadlines };
  const onSilence = (reason: string): void => phases.note(`waiting for the sdn: ${reason}`);
  const { action, record } =
    entry.stage === 'taking-over'
      ? await takeOverRecord(world, entry.stage, migration, { sourceIsOff: false }, onSilence)
      : await settle(world, migration.epoch, (known) => decideDestination(entry.stage, migration, known), onSilence);
  if (action === 'halt')
    return { outcome: 'halted', error: contradiction(migration, record), leftovers: leftovers.failures };
  const destroy = async (): Promise<DestinationRecovery> => {
    const destroyed = await leftovers.tidy('destroying the process', () => ports.process.destroy());
    const opened = await leftovers.tidy('taking the gate away', () => ports.replay.discard());
    const discarded = await leftovers.tidy('taking the hold away', () => ports.packets.discard());
    if (destroyed && opened && discarded)
      await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
    return { outcome: 'discarded', leftovers: leftovers.failures };
  };
  if (action === 'destroy') return destroy();
  // What the copy had heard and held has died with its daemon; the source, stopped, has all of it.
  if (isUnheard(entry) && ports.ageMs < deadlines.giveBackMs) {
    phases.note(`giving ${migration.sandbox} back to ${migration.source}`);
    await giveBack(world, migration.epoch + 1n, onSilence);
    return destroy();
  }
  if (isUnheard(entry)) {
    // So late it goes on by itself. Its source may run all the same, and be heard for as long as the network takes its packets.
    const fenced = await takeOverRecord(world, 'taking', migration, { sourceIsOff: false }, onSilence);
    if (fenced.action === 'halt')
      return { outcome: 'halted', error: contradiction(migration, fenced.record), leftovers: leftovers.failures };
    if (fenced.action === 'destroy') return destroy();
  }
  const isPaged = migration.mode === 'postcopy';
  const owned = entry.stage === 'filled' ? entry : advance(entry, 'owned');
  await leftovers.tidy('noting that this machine owns', () => ports.journal.write(owned));
  phases.enter('run');
  // Before it runs: nobody else hears of the pages that it misses.
  const isWhole = !isPaged || owned.stage === 'filled';
  const fill = isWhole ? WHOLE : await adopt(ports, leftovers);
  if (fill === undefined || !(await leftovers.tidy('letting the process run', () => ports.process.run()))) {
    const error = withPlace(leftovers.failures.at(-1), `sandbox ${migration.sandbox} belongs here and does not run`);
    return { outcome: 'halted', error, leftovers: leftovers.failures };
  }
  phases.enter('release');
  await leftovers.tidy('taking the gate away', () => ports.replay.discard());
  const epoch = migration.epoch + 1n;
  const context = { ports, migration, deadlines, phases, signal: undefined };
  if (isPaged) {
    const running = { entry: owned, epoch, onRunning: options.onRunning };
    const ending = { ...running, line: undefined, passDirectly: true, fill };
    const end = await endOwned(context, ending, leftovers);
    if ('error' in end) {
      const error = withPlace(end.error, `the memory of ${migration.sandbox} is not whole`);
      return { outcome: 'halted', error, leftovers: leftovers.failures };
    }
    const { datagrams, filled } = end;
    return { outcome: 'owned', epoch, held: datagrams.held, filled, leftovers: leftovers.failures };
  }
  const leading = leadsLate(migration.mode) ? lead(world, leftovers) : undefined;
  const held = await releasePackets(ports, leftovers);
  await leading;
  if (held !== undefined) await leftovers.tidy('clearing the journal', () => ports.journal.clear(migration.id));
  options.onRunning?.(epoch);
  // One that is told need not wait until it gives this machine up, with its process stopped and kept meanwhile.
  await sayTaken(context, epoch);
  return { outcome: 'owned', epoch, held: held ?? 0, filled: undefined, leftovers: leftovers.failures };
}

/** A process that misses nothing, and may not have told its source. */
const WHOLE: Fill = {
  filled: async () => ({ faults: 0, faultedPages: 0, filledPages: 0, faultMicros: 0, ended: undefined }),
  secured: async () => undefined,
  fetchAll: () => undefined,
  missingPages: () => 0,
};

/** @returns undefined, and a note, where the rest of the memory cannot be had: the process must not run then */
async function adopt({ paging }: DestinationRecoveryPorts, leftovers: Leftovers): Promise<Fill | undefined> {
  return leftovers.result('taking over what is missing of its memory', () => paging.adopt());
}

/** A copy whose destination owns, and may not have had the whole log. */
function isUnheard({ migration, stage }: DestinationEntry): boolean {
  return migration.mode === 'replicated' && stage === 'taking';
}
