/** At a daemon's start: every migration that the journal still has is brought to an end before anything else. */
import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import { messageOf } from '../../base/errors.ts';
import { readBootId } from '../../linux/boot-id.ts';
import { isAlive } from '../../linux/process-identity.ts';
import type { JournalEntry } from '../../migration/journal.ts';
import type { Log } from '../log.ts';
import type { Jail, Jailors } from '../sandboxes/jailors.ts';
import type { Registry } from '../sandboxes/registry.ts';
import { uncarry } from './carried-error.ts';
import type { Engine } from './engine.ts';
import { type History, type MigrationEnd, recoveredEnding } from './history.ts';
import type { JobOutcome, RecoveredEnd, Skeleton } from './job.ts';
import { JournalFiles } from './journal-files.ts';
import { endMigration, ownershipOver } from './record.ts';

export type RecoveryWorld = {
  readonly vm: string;
  readonly address: string;
  readonly stateDirectory: string;
  /** sdaemon's `--patience`. */
  readonly patience: number;
  readonly jailors: Jailors;
  readonly engine: Engine;
  readonly sdn: Client<typeof Sdn>;
  readonly sdnEndpoint: string;
  readonly registry: Registry;
  readonly log: Log;
  /** Of this machine: told how the migrations away from it have ended. */
  readonly history: History;
  /** Told of a migration that goes on in the background: the process runs, and the rest of its memory is on its way. */
  readonly behind: (migrationId: string, sandbox: string, ended: Promise<void>) => void;
  /** Whether it has been told of this one, and its end has not come. */
  readonly isBehind: (migrationId: string) => boolean;
};

/**
 * Afterwards every sandbox of an unfinished migration either runs here and this machine owns it, as the sdn will say to
 * whoever looks, or is gone from here; or it is stopped and the log says that an operator is needed.
 */
export async function recoverMigrations(world: RecoveryWorld): Promise<void> {
  const journal = new JournalFiles(world.stateDirectory);
  for (const id of journal.forgetEarlierBoot(readBootId()))
    world.log(`migration ${id}: its entry in the journal was lost when this machine went down`);
  const { entries, failures } = journal.readAll();
  for (const failure of failures) world.log(`an operator is needed: ${failure.message}`);
  const { living } = entries.length === 0 ? { living: [] } : await world.jailors.findAll();
  for (const entry of entries) {
    if (world.isBehind(entry.migration.id)) continue;
    const jail = living.find(({ id }) => id === entry.migration.sandbox);
    try {
      await recoverOne(world, journal, entry, jail);
    } catch (thrown) {
      tellOfSource(world, entry, 'halted');
      world.log(
        `${entry.migration.sandbox}: its migration cannot be ended, an operator is needed: ${messageOf(thrown)}`,
      );
    }
  }
  tellHistory(world, entries);
}

/** A migration that had begun and is not in the journal had not got as far as its process. */
function tellHistory({ vm, history }: RecoveryWorld, entries: readonly JournalEntry[]): void {
  const inJournal = new Set(
    entries.filter(({ migration }) => migration.source === vm).map((one) => one.migration.sandbox),
  );
  for (const sandbox of history.open())
    if (!inJournal.has(sandbox)) history.endEarlier(sandbox, recoveredEnding('stayed', ''));
}

function tellOfSource({ vm, history }: RecoveryWorld, { migration }: JournalEntry, end: MigrationEnd): void {
  const { source, sandbox, mode } = migration;
  if (source === vm) history.endEarlier(sandbox, recoveredEnding(end, mode));
}

function skeletonOf(jail: Jail | undefined, world: RecoveryWorld): Skeleton | undefined {
  const state = jail?.state();
  if (jail === undefined || state === undefined || state.init === null) return undefined;
  const { link, tag, init } = state;
  return { initPid: init.pid, link, tag, address: world.jailors.readConfig(jail.id).network.address };
}

/** How far a migration has got whose memory is still on its way. */
type Early = 'runs here' | 'runs there';

async function recoverOne(
  world: RecoveryWorld,
  journal: JournalFiles,
  entry: JournalEntry,
  jail: Jail | undefined,
): Promise<void> {
  const { engine, stateDirectory, log, registry, jailors } = world;
  const { id, sandbox, epoch } = entry.migration;
  const note = journal.readNote(id);
  const alive = note !== undefined && isAlive({ pid: note.hostPid, startTicks: note.startTicks });
  const hostPid = alive ? note.hostPid : undefined;
  const early = Promise.withResolvers<Early>();
  const job = engine.run(
    {
      ...{ side: 'recover', entry, hostPid, channel: note?.channel, skeleton: skeletonOf(jail, world), stateDirectory },
      cgroup: jail?.state()?.cgroup ?? null,
      ...{ address: world.address, patience: world.patience },
    },
    {
      ...ownershipOver(world, entry.migration),
      onNote: (text) => log(`${sandbox}: ${text}`),
      ...(jail === undefined ? {} : { keeper: jail }),
      onRunning: () => early.resolve('runs here'),
      onProgress: ({ phase }) => (phase === 'fill' ? early.resolve('runs there') : undefined),
    },
  );
  const ended = job.then((outcome) => endRecovery(world, journal, { entry, jail, hostPid, outcome }));
  const first = await Promise.race([ended, early.promise]);
  if (first === undefined) return;
  // The rest of its memory may take long: the daemon does not wait for it.
  const settled = ended.catch((thrown: unknown) => log(`${sandbox}: an operator is needed: ${messageOf(thrown)}`));
  world.behind(id, sandbox, settled);
  if (jail === undefined) return;
  if (first === 'runs here' && hostPid !== undefined) await adopt(jail, hostPid);
  if (first === 'runs there') {
    registry.set(sandbox, { state: 'migrating', config: jailors.readConfig(sandbox), jail, epoch });
    void settled.then(() => registry.remove(sandbox));
  }
}

/** A daemon may have been killed between the adoption and the end of the entry. */
async function adopt(jail: Jail, hostPid: number): Promise<void> {
  if (jail.state().phase === 'ready') await jail.adopt(hostPid);
}

type Recovered = {
  readonly entry: JournalEntry;
  readonly jail: Jail | undefined;
  readonly hostPid: number | undefined;
  readonly outcome: JobOutcome;
};

async function endRecovery(
  world: RecoveryWorld,
  journal: JournalFiles,
  { entry, jail, hostPid, outcome }: Recovered,
): Promise<undefined> {
  const { log, jailors } = world;
  const { id, sandbox, source, destination } = entry.migration;
  for (const leftover of outcome.leftovers) log(`${sandbox}: ${uncarry(leftover).message}`);
  const end: RecoveredEnd = outcome.outcome === 'recovered' ? outcome.end : 'halted';
  log(`${sandbox}: the migration from ${source} to ${destination} that was under way has ended here: ${end}`);
  if (end !== 'owned' && end !== 'discarded') tellOfSource(world, entry, end);
  if (end !== 'halted') await endMigration(world, entry.migration);
  // Nothing is left that an operator could look at.
  if (end === 'halted' && hostPid === undefined) journal.clear(id);
  if (jail === undefined) return;
  try {
    if (end === 'owned' && hostPid !== undefined) {
      await adopt(jail, hostPid);
      journal.clear(id);
    }
    if (end === 'moved' || end === 'discarded') {
      await jail.release();
      await jailors.forget(sandbox);
    }
  } catch (thrown) {
    log(`${sandbox}: ${messageOf(thrown)}`);
  }
}
