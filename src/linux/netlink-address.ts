/** Addresses and multicast groups of netlink sockets, netlink(7). */
import { KernelError } from './errno.ts';
import { AF_NETLINK, SOL_NETLINK, tryGetSocketOption, trySetSocketOption } from './sockets.ts';

const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_LIST_MEMBERSHIPS = 9;
/** struct sockaddr_nl: u16 family, padding, u32 port id, u32 groups. */
const ADDRESS_BYTES = 12;
/** Room for the bit mask of more groups than any protocol has. */
const MEMBERSHIP_BYTES = 64;
/** As an option to be read. */
export const NETLINK_MEMBERSHIPS = { level: SOL_NETLINK, number: NETLINK_LIST_MEMBERSHIPS, maxBytes: MEMBERSHIP_BYTES };

export function decodeNetlinkAddress(raw: Buffer): { readonly port: number } {
  return { port: raw.readUInt32LE(4) };
}

/** Groups are left out: they are joined one by one. */
export function encodeNetlinkAddress({ port }: { readonly port: number }): Buffer {
  const raw = Buffer.alloc(ADDRESS_BYTES);
  raw.writeUInt16LE(AF_NETLINK, 0);
  raw.writeUInt32LE(port, 4);
  return raw;
}

/** The numbers of the groups that a socket listens to, ascending. */
export function netlinkGroups(socket: number): number[] {
  const mask = tryGetSocketOption(socket, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, MEMBERSHIP_BYTES);
  if (typeof mask === 'number') throw new KernelError('getsockopt NETLINK_LIST_MEMBERSHIPS', -mask);
  const groups: number[] = [];
  for (let bit = 0; bit < mask.length * 8; bit++) {
    if (((mask[bit >> 3]! >> (bit & 7)) & 1) !== 0) groups.push(bit + 1);
  }
  return groups;
}

export function joinNetlinkGroup(socket: number, group: number): void {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(group);
  const result = trySetSocketOption(socket, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, value);
  if (result < 0) throw new KernelError(`join netlink group ${group}`, -result);
}
