/** What the root process of a sandbox is and may do. Pure. */
import { CAPABILITY_NAMES, RLIMIT_NAMES } from '../base/containment-schemas.ts';
import type { FullConfig, RlimitSpec, UserSpec } from '../base/sandbox-config.ts';
import type { Credentials } from '../linux/credentials.ts';

export type Privileges = {
  readonly user: UserSpec;
  readonly capabilities: readonly string[];
  readonly systemCalls: readonly string[];
  readonly onlySystemCalls?: readonly string[];
  readonly rlimits: Readonly<Record<string, RlimitSpec>>;
  readonly oomScoreAdjust: number;
};

const ROOT: UserSpec = { uid: 0, gid: 0, groups: [] };
/** The soft limit that Linux and systemd give. Node raises its own to the hard one, and select(2) knows no more. */
export const USUAL_DESCRIPTORS = 1024;

export function privilegesOf({ process, security }: FullConfig): Privileges {
  const rlimits = Object.entries(process.rlimits ?? {}).map(
    ([name, limit]) => [name, typeof limit === 'number' ? { soft: limit, hard: limit } : limit] as const,
  );
  return {
    user: process.user ?? ROOT,
    capabilities: security?.capabilities ?? [],
    systemCalls: security?.systemCalls ?? [],
    ...(security?.onlySystemCalls === undefined ? {} : { onlySystemCalls: security.onlySystemCalls }),
    rlimits: Object.fromEntries(rlimits),
    oomScoreAdjust: process.oomScoreAdjust ?? 0,
  };
}

/** Its number for prlimit(2). */
export function rlimitNumber(name: string): number {
  return (RLIMIT_NAMES as readonly string[]).indexOf(name);
}

/**
 * The capabilities stand in all five sets, so that a program has them whoever its user is; what is not in the bounding set
 * can never be had again. Nothing is gained by executing anything (no_new_privs).
 */
export function credentialsOf({ user, capabilities }: Privileges): Credentials {
  const mask = capabilities.reduce(
    (all, name) => all | (1n << BigInt((CAPABILITY_NAMES as readonly string[]).indexOf(name))),
    0n,
  );
  return {
    userIds: [user.uid, user.uid, user.uid, user.uid],
    groupIds: [user.gid, user.gid, user.gid, user.gid],
    groups: user.groups,
    capabilities: { inheritable: mask, permitted: mask, effective: mask, bounding: mask, ambient: mask },
    secureBits: 0,
    noNewPrivileges: true,
  };
}

/** `user 33:33, no capabilities, no new privileges, seccomp`. */
export function describePrivileges({ user, capabilities, systemCalls, onlySystemCalls }: Privileges): string {
  const has = capabilities.length === 0 ? 'no capabilities' : `capabilities ${capabilities.join(' ')}`;
  const more = systemCalls.length === 0 ? '' : ` with ${systemCalls.join(' ')}`;
  const only = onlySystemCalls === undefined ? '' : ` narrowed to ${onlySystemCalls.length} calls`;
  return `user ${user.uid}:${user.gid}, ${has}, no new privileges, seccomp${more}${only}`;
}
