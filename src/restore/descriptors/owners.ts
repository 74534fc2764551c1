/** Who files belong to that are put into the sandbox from outside. */
import type { ProcessImage } from '../../image/types.ts';
import { type IdMaps, outsideId, SAME_IDS } from '../../linux/id-map.ts';
import type { Owner } from '../../linux/root-directory.ts';

export type Owners = {
  /** Of the sandbox. */
  readonly ids: IdMaps;
  /** Of what the process would have made itself. Null: this program. */
  readonly maker: Owner | null;
};

export const OWN: Owners = { ids: SAME_IDS, maker: null };

export function ownersOf({ process, threads }: ProcessImage): Owners {
  const { ids } = process;
  const { userIds, groupIds } = threads[0]!.credentials;
  // Files are made with the ids of the file system, credentials(7).
  return { ids, maker: ownerOutside(ids, userIds[3], groupIds[3]) };
}

/** The ids outside, as chown(2) takes them. */
export function ownerOutside({ users, groups }: IdMaps, uid: number, gid: number): Owner {
  return { uid: outsideId(users, uid), gid: outsideId(groups, gid) };
}
