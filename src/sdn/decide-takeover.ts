/**
 * A destination that comes to own without a word of its source: pure, as in decisions.ts. The owner changes, packets for the
 * sandbox come to the new one, and nothing is taken any more that comes from the former one's link: all of it one change, on
 * the disk and in the kernel before it is answered. From then on no client hears the former owner, whatever it believes.
 */
import { ComicranError } from '../base/errors.ts';
import { notAnnounced, rightToTake } from './decide-migration.ts';
import { type Decision, unknownSandbox } from './decision.ts';
import type { SetOwner } from './decisions.ts';
import type { Announcement, Edit, Location, Tables } from './tables.ts';

export type TakeOver = Pick<SetOwner, 'sandbox' | 'expectedEpoch' | 'vm' | 'vmAddress' | 'migrationId'> & {
  /** Who asks answers for it that nothing runs on the former owner's machine any more. */
  readonly sourceIsOff: boolean;
  /** Links of the sdn node that lead to the owner (undefined: none does any more) and to who asks. */
  readonly ownerLink: string | undefined;
  readonly link: string;
};

/**
 * As {@link import('./decisions.ts').decideSetOwner}, by the destination of the migration that is announced; also of one by
 * which it owns already, with a route that has not followed yet.
 * @throws ComicranError migration.refused: nothing has been changed, and this migration will not be let again
 */
export function decideTakeOver(
  tables: Tables,
  request: TakeOver,
): Decision<{ readonly changed: boolean; readonly location: Location }> {
  const { sandbox, expectedEpoch, vm, vmAddress, migrationId } = request;
  const present = tables.locations.get(sandbox);
  if (present === undefined) throw unknownSandbox(sandbox);
  const announcement = tables.announcements.get(sandbox);
  const isTheirs = present.vm === vm && present.migrationId === migrationId && present.epoch === expectedEpoch + 1n;
  if (present.epoch !== expectedEpoch && !isTheirs) return { edits: [], answer: { changed: false, location: present } };
  if (!isTheirs) checkMay(tables, present, request);
  const location: Location = isTheirs
    ? { ...present, via: present.vmAddress }
    : { ...present, vm, vmAddress, via: vmAddress, epoch: expectedEpoch + 1n, migrationId };
  const moves = !isTheirs || present.via !== location.via;
  return {
    edits: [...(moves ? [{ kind: 'set-owner', location } as const] : []), ...shutOut(announcement, migrationId)],
    answer: { changed: true, location },
  };
}

function checkMay(tables: Tables, present: Location, request: TakeOver): void {
  const { sandbox, vm, migrationId, sourceIsOff, ownerLink, link } = request;
  if (rightToTake(tables, present, request) === undefined) {
    throw new ComicranError('migration.refused', notAnnounced(present, vm, migrationId));
  }
  if (sourceIsOff || ownerLink !== link) return;
  throw new ComicranError(
    'migration.refused',
    `${present.vm} and ${vm} are behind one link (${link}) of the sdn node: it could not shut out what comes of '${sandbox}' from ${present.vm}`,
    { hint: `Make sure that ${present.vm} is switched off, and say so with --machine-is-off.` },
  );
}

/** The announcement stays, without passages: what has been taken may be given back. */
function shutOut(announcement: Announcement | undefined, migrationId: string): Edit[] {
  if (announcement?.migrationId !== migrationId || announcement.toLink === '') return [];
  return [
    { kind: 'remove-announcement', announcement },
    { kind: 'put-announcement', announcement: { ...announcement, fromLink: '', toLink: '' } },
  ];
}
