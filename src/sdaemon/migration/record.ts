/** What a machine's daemon says to the sdn of a migration, over RPC. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@connectrpc/connect';
import { parseEndpoint } from '../../api/endpoint.ts';
import type { Location, Sdn, SetOwnerRequest } from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { Migration } from '../../migration/journal.ts';
import { leadsLate } from '../../migration/modes.ts';
import type { Ownership, OwnershipRecord } from '../../migration/ports.ts';
import type { Log } from '../log.ts';
import type { RecordAddress } from '../record/fast-record.ts';

export type RecordWorld = {
  readonly sdn: Client<typeof Sdn>;
  /** `IP:PORT` */
  readonly sdnEndpoint: string;
  readonly vm: string;
  readonly address: string;
  readonly log: Log;
};

type Change = Pick<SetOwnerRequest, 'vm' | 'vmAddress' | 'byVm'>;

async function setOwner(
  sdn: Client<typeof Sdn>,
  { id, sandbox }: Migration,
  expectedEpoch: bigint,
  change: Change,
): Promise<OwnershipRecord> {
  const { location } = await sdn.setOwner({ sandbox, expectedEpoch, migrationId: id, ...change });
  return recordOf(location, sandbox);
}

function recordOf(location: Location | undefined, sandbox: string): OwnershipRecord {
  if (location === undefined) {
    throw new ComicranError('peer.protocol', `the sdn said nothing of who owns '${sandbox}'`);
  }
  return { owner: location.vm, epoch: location.epoch };
}

/** The compare-and-set at the sdn, in this machine's name. */
export function ownershipOver({ sdn, vm, address }: RecordWorld, migration: Migration): Ownership {
  const other = vm === migration.source ? migration.destination : migration.source;
  return {
    take: (epoch) => setOwner(sdn, migration, epoch, { vm, vmAddress: address, byVm: vm }),
    give: (epoch) => setOwner(sdn, migration, epoch, { vm: other, vmAddress: '', byVm: vm }),
    async takeOver(expectedEpoch, { sourceIsOff }) {
      const { id: migrationId, sandbox } = migration;
      const asked = { sandbox, expectedEpoch, migrationId, vm, vmAddress: address, sourceIsOff };
      return recordOf((await sdn.takeOverOwnership(asked)).location, sandbox);
    },
    async look() {
      const { location } = await sdn.locate({ sandbox: migration.sandbox });
      return location === undefined ? undefined : recordOf(location, migration.sandbox);
    },
    async lead() {
      await sdn.leadPackets({ sandbox: migration.sandbox, migrationId: migration.id, vm });
    },
  };
}

/**
 * At the source, before the destination prepares: without it the destination could not become the owner.
 * @throws ComicranError
 */
export async function announceMigration({ sdn }: RecordWorld, migration: Migration, deadlineMs: number): Promise<void> {
  const { id, sandbox, epoch, source, destination, mode } = migration;
  await sdn.announceMigration({
    ...{ sandbox, migrationId: id, epoch, fromVm: source, toVm: destination, deadlineMs, lateRoute: leadsLate(mode) },
  });
}

/** @returns undefined where there is none: the ordinary way does. */
export async function openRecordChannel(world: RecordWorld, migration: Migration): Promise<RecordAddress | undefined> {
  const { sdn, sdnEndpoint, vm, address, log } = world;
  const { id, sandbox, epoch } = migration;
  try {
    const { port, key } = await sdn.openRecordChannel({
      ...{ sandbox, migrationId: id, expectedEpoch: epoch, vm, vmAddress: address },
    });
    return { address: parseEndpoint(sdnEndpoint).address, port, key };
  } catch (thrown) {
    log(`${sandbox}: has no quick way to the record: ${messageOf(thrown)}`);
    return undefined;
  }
}

/** When nothing of it is left to decide. Where the sdn does not hear it, the announcement ends with the next one. */
export async function endMigration({ sdn, vm, log }: RecordWorld, { id, sandbox }: Migration): Promise<void> {
  await sdn.endMigration({ sandbox, migrationId: id, vm }).catch((thrown: unknown) => {
    log(`${sandbox}: the sdn has not heard that migration ${id} is over: ${messageOf(thrown)}`);
  });
}

const CONFIRM_PAUSES_MS = [250, 500, 1_000, 2_000, 5_000] as const;
const CONFIRM_FOR_MS = 600_000;

/**
 * At a destination that owns: asks once more, in the ordinary way, whose answer means that the record is on the disk, and
 * then ends the migration. Without this an sdn node that lost its power just behind the compare-and-set would not know of
 * it (docs/decisions/record-before-disk.md). Goes on for some minutes where the sdn does not answer; does not throw.
 */
export async function confirmOwnership(world: RecordWorld, migration: Migration): Promise<void> {
  const { take } = ownershipOver(world, migration);
  const giveUpMs = performance.now() + CONFIRM_FOR_MS;
  for (let attempt = 0; performance.now() < giveUpMs; attempt++) {
    try {
      await take(migration.epoch);
      return await endMigration(world, migration);
    } catch (thrown) {
      const reason = `${migration.sandbox}: the sdn has not confirmed the ownership yet: ${messageOf(thrown)}`;
      if (attempt === 0) world.log(reason);
      const pauseMs = CONFIRM_PAUSES_MS[Math.min(attempt, CONFIRM_PAUSES_MS.length - 1)];
      await sleep(pauseMs, undefined, { ref: false });
    }
  }
}
