/**
 * Who the users of a sandbox are on the VM. Pure.
 *
 * Each sandbox has 4096 ids of the VM that follow from its address, as its MAC address does: so they are the same on every VM,
 * and a file on storage that VMs share stays its own when it moves. Where `security.firstId` says nothing else they begin at 0x70000000 + 4096 × the last 16 bits of the
 * address, a range that systemd leaves to nobody (systemd.io/UIDS-GIDS):
 *
 *     inside    0 … 3999      the first 4000, in order: 0 is root inside
 *               65534         the last: nobody
 *               others        those that `process.user` names, in ascending order, behind the first 4000
 */
import { SANDBOX_IDS as IDS } from '../base/containment-schemas.ts';
import { ComicranError } from '../base/errors.ts';
import { ipv4Bytes } from '../base/ipv4.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { type IdMaps, type IdRange, outsideId, SAME_IDS } from '../linux/id-map.ts';

const LOWEST = 0x7000_0000;
const USUAL = 4000;
const NOBODY = 65_534;
const OTHERS = IDS - USUAL - 1;

/** No ranges where the configuration wants no user namespace. @throws ComicranError config.invalid */
export function idMapsOf({ process, network, security }: FullConfig): IdMaps {
  if (security?.userNamespace === false) return SAME_IDS;
  const [, , high, low] = ipv4Bytes(network.address);
  const first = security?.firstId ?? LOWEST + IDS * (high! * 256 + low!);
  const { uid, gid, groups } = process.user ?? { uid: 0, gid: 0, groups: [] };
  return { users: ranges(first, [uid]), groups: ranges(first, [gid, ...groups]) };
}

function ranges(first: number, named: readonly number[]): IdRange[] {
  const others = [...new Set(named)].filter((id) => id >= USUAL && id !== NOBODY).toSorted((a, b) => a - b);
  if (others.length > OTHERS)
    throw new ComicranError('config.invalid', `process.user names ${others.length} groups from ${USUAL} on`, {
      hint: `A user namespace has room for ${OTHERS} of them. Name fewer, or declare security.userNamespace: false.`,
    });
  return [
    { inside: 0, outside: first, count: USUAL },
    ...others.map((inside, index): IdRange => ({ inside, outside: first + USUAL + index, count: 1 })),
    { inside: NOBODY, outside: first + IDS - 1, count: 1 },
  ];
}

export type Owner = { readonly uid: number; readonly gid: number };

/** Root inside, as the VM knows it. */
export function rootOf({ users, groups }: IdMaps): Owner {
  return { uid: outsideId(users, 0), gid: outsideId(groups, 0) };
}

/** The user of the root process, as the VM knows it. */
export function userOf({ process }: FullConfig, { users, groups }: IdMaps): Owner {
  const { uid, gid } = process.user ?? { uid: 0, gid: 0 };
  return { uid: outsideId(users, uid), gid: outsideId(groups, gid) };
}

/** `1879068672 to 1879072767`, or undefined without a user namespace. */
export function describeIds({ users }: IdMaps): string | undefined {
  const [first] = users;
  return first === undefined ? undefined : `${first.outside} to ${first.outside + IDS - 1}`;
}
