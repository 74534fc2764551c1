/** At a daemon's start: every migration that the journal still has is brought to an end before anything else. */
import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import { messageOf } from '../../base/errors.ts';
import { isAlive } from '../../linux/process-identity.ts';
import type { JournalEntry } from '../../migration/journal.ts';
import type { Log } from '../log.ts';
import type { Jail, Jailors } from '../sandboxes/jailors.ts';
import { uncarry } from './carried-error.ts';
import type { Engine } from './engine.ts';
import type { RecoveredEnd, Skeleton } from './job.ts';
import { JournalFiles } from './journal-files.ts';
import { endMigration, ownershipOver } from './record.ts';

export type RecoveryWorld = {
  readonly vm: string;
  readonly address: string;
  readonly stateDirectory: string;
  readonly jailors: Jailors;
  readonly engine: Engine;
  readonly sdn: Client<typeof Sdn>;
  readonly sdnEndpoint: string;
  readonly log: Log;
};

/**
 * Afterwards every sandbox of an unfinished migration either runs here and this machine owns it, as the sdn will say to
 * whoever looks, or is gone from here; or it is stopped and the log says that an operator is needed.
 */
export async function recoverMigrations(world: RecoveryWorld): Promise<void> {
  const journal = new JournalFiles(world.stateDirectory);
  const { entries, failures } = journal.readAll();
  for (const failure of failures) world.log(`an operator is needed: ${failure.message}`);
  if (entries.length === 0) return;
  const { living } = await world.jailors.findAll();
  for (const entry of entries) {
    const jail = living.find(({ id }) => id === entry.migration.sandbox);
    try {
      await recoverOne(world, journal, entry, jail);
    } catch (thrown) {
      world.log(
        `${entry.migration.sandbox}: its migration cannot be ended, an operator is needed: ${messageOf(thrown)}`,
      );
    }
  }
}

function skeletonOf(jail: Jail | undefined, world: RecoveryWorld): Skeleton | undefined {
  const state = jail?.state();
  if (jail === undefined || state === undefined || state.init === null) return undefined;
  const { link, tag, init } = state;
  return { initPid: init.pid, link, tag, address: world.jailors.readConfig(jail.id).network.address };
}

async function recoverOne(
  world: RecoveryWorld,
  journal: JournalFiles,
  entry: JournalEntry,
  jail: Jail | undefined,
): Promise<void> {
  const { engine, stateDirectory, log, jailors } = world;
  const { id, sandbox, source, destination } = entry.migration;
  const note = journal.readNote(id);
  const alive = note !== undefined && isAlive({ pid: note.hostPid, startTicks: note.startTicks });
  const hostPid = alive ? note.hostPid : undefined;
  const outcome = await engine.run(
    {
      ...{ side: 'recover', entry, hostPid, channel: note?.channel, skeleton: skeletonOf(jail, world), stateDirectory },
      ...{ address: world.address },
    },
    ownershipOver(world, entry.migration),
  );
  for (const leftover of outcome.leftovers) log(`${sandbox}: ${uncarry(leftover).message}`);
  const end: RecoveredEnd = outcome.outcome === 'recovered' ? outcome.end : 'halted';
  log(`${sandbox}: the migration from ${source} to ${destination} that was under way has ended here: ${end}`);
  if (end !== 'halted') await endMigration(world, entry.migration);
  // Nothing is left that an operator could look at.
  if (end === 'halted' && hostPid === undefined) journal.clear(id);
  if (jail === undefined) return;
  try {
    if (end === 'owned' && hostPid !== undefined) {
      // A daemon may have been killed between the adoption and the end of the entry.
      if (jail.state().phase === 'ready') await jail.adopt(hostPid);
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
