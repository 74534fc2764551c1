import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import { ComicranError } from '../../base/errors.ts';
import type { Migration } from '../../migration/journal.ts';
import type { OwnershipRecord } from '../../migration/ports.ts';

/**
 * The compare-and-set at the sdn, in this machine's name.
 * @returns the record as it stands afterwards. @throws where the answer is not known.
 */
export async function takeOwnership(
  sdn: Client<typeof Sdn>,
  migration: Migration,
  self: { readonly vm: string; readonly address: string },
  expectedEpoch: bigint,
): Promise<OwnershipRecord> {
  const { location } = await sdn.setOwner({
    sandbox: migration.sandbox,
    expectedEpoch,
    vm: self.vm,
    vmAddress: self.address,
    migrationId: migration.id,
  });
  if (location === undefined) {
    throw new ComicranError('peer.protocol', `the sdn said nothing of who owns '${migration.sandbox}'`);
  }
  return { owner: location.vm, epoch: location.epoch };
}
