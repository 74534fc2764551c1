/** Who a thread is and what it may do, credentials(7), capabilities(7): asked from outside, changed by injected calls. */
import { type IdMaps, insideId } from './id-map.ts';
import type { StatusFile } from './procfs.ts';
import { SYS } from './syscall-numbers.ts';
import type { RemoteCall, Tracee } from './tracee.ts';

export type Credentials = {
  /** Real, effective, saved, file system. */
  readonly userIds: readonly [number, number, number, number];
  readonly groupIds: readonly [number, number, number, number];
  readonly groups: readonly number[];
  /** Bit n for capability n of linux/capability.h. */
  readonly capabilities: {
    readonly inheritable: bigint;
    readonly permitted: bigint;
    readonly effective: bigint;
    readonly bounding: bigint;
    readonly ambient: bigint;
  };
  readonly secureBits: number;
  readonly noNewPrivileges: boolean;
};

const PR_CAPBSET_DROP = 24;
const PR_SET_SECUREBITS = 28;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;
/** SECBIT_NO_SETUID_FIXUP: a change of user ids leaves capabilities alone. */
const NO_SETUID_FIXUP = 1 << 2;
/** _LINUX_CAPABILITY_VERSION_3 of linux/capability.h. */
const CAPABILITY_VERSION = 0x20080522;
const CAPABILITIES = 64;

/**
 * Whether a thread has these credentials already. Securebits cannot be seen from outside: only 0 counts as the same.
 *
 * @param ids of its user namespace: `wanted` has those inside.
 */
export function hasCredentials(status: StatusFile, wanted: Credentials, ids: IdMaps): boolean {
  const { capabilities } = wanted;
  const told = (name: string, ranges: IdMaps['users']): string =>
    status
      .numbers(name)
      .map((id) => insideId(ranges, id))
      .join();
  const sets: readonly (readonly [string, bigint])[] = [
    ['CapInh', capabilities.inheritable],
    ['CapPrm', capabilities.permitted],
    ['CapEff', capabilities.effective],
    ['CapBnd', capabilities.bounding],
    ['CapAmb', capabilities.ambient],
  ];
  return (
    wanted.secureBits === 0 &&
    told('Uid', ids.users) === wanted.userIds.join() &&
    told('Gid', ids.groups) === wanted.groupIds.join() &&
    told('Groups', ids.groups) === wanted.groups.join() &&
    (status.number('NoNewPrivs') === 1) === wanted.noNewPrivileges &&
    sets.every(([name, set]) => status.hex(name) === set)
  );
}

/** The calls that give a privileged thread these credentials. They come last: afterwards it may do no more than they say. */
export function credentialCalls(thread: Tracee, wanted: Credentials): RemoteCall[] {
  const { capabilities, userIds, groupIds, groups } = wanted;
  const prctl = (what: string, ...args: (number | bigint)[]): RemoteCall => ({ what, number: SYS.prctl, args });
  const groupList = Buffer.alloc(Math.max(4, groups.length * 4));
  for (const [index, group] of groups.entries()) groupList.writeUInt32LE(group, index * 4);
  const calls: RemoteCall[] = [
    prctl('keep capabilities', PR_SET_SECUREBITS, NO_SETUID_FIXUP),
    { what: 'set the groups', number: SYS.setgroups, args: [groups.length, thread.put(groupList)] },
    { what: 'set the group ids', number: SYS.setresgid, args: groupIds.slice(0, 3) },
    { what: 'set the file system group id', number: SYS.setfsgid, args: [groupIds[3]] },
    { what: 'set the user ids', number: SYS.setresuid, args: userIds.slice(0, 3) },
    { what: 'set the file system user id', number: SYS.setfsuid, args: [userIds[3]] },
  ];
  for (let capability = 0; capability < CAPABILITIES; capability++)
    if (((capabilities.bounding >> BigInt(capability)) & 1n) === 0n)
      // EINVAL for the numbers that the kernel does not know.
      calls.push({ ...prctl(`drop capability ${capability}`, PR_CAPBSET_DROP, capability), mayFail: true });
  calls.push(prctl('set the securebits', PR_SET_SECUREBITS, wanted.secureBits));
  calls.push({
    what: 'set the capabilities',
    number: SYS.capset,
    args: [thread.put(capabilityHeader()), thread.put(capabilitySets(capabilities))],
  });
  for (let capability = 0; capability < CAPABILITIES; capability++)
    if (((capabilities.ambient >> BigInt(capability)) & 1n) === 1n)
      calls.push(
        prctl(`raise ambient capability ${capability}`, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0),
      );
  if (wanted.noNewPrivileges) calls.push(prctl('give up new privileges', PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  return calls;
}

function capabilityHeader(): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION, 0);
  return header;
}

/** struct __user_cap_data_struct twice: the low halves of effective, permitted, inheritable, then the high ones. */
function capabilitySets({ effective, permitted, inheritable }: Credentials['capabilities']): Buffer {
  const data = Buffer.alloc(24);
  for (const [index, set] of [effective, permitted, inheritable].entries()) {
    data.writeUInt32LE(Number(set & 0xffff_ffffn), index * 4);
    data.writeUInt32LE(Number(set >> 32n), 12 + index * 4);
  }
  return data;
}
