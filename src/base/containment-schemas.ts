/** The keys of a configuration that say what a sandbox may do and use; base and full configurations have them in common. */
import { absolutePath, isNormalPath } from './config-schemas.ts';
import type { LimitsSpec, MountSpec, RlimitSpec, SecuritySpec, UserSpec } from './sandbox-config.ts';
import {
  flag,
  list,
  mapping,
  object,
  oneOf,
  optional,
  type Problem,
  refined,
  required,
  type Schema,
  text,
  wholeNumber,
} from './schema.ts';

/** An id that no kernel gives a meaning of its own (-1 is "none"). */
const LARGEST_ID = 0xffff_fffe;
/** Below are the VM's own users and services. */
const LOWEST_SHARED_ID = 65_536;
/** How many ids of the VM a sandbox has. */
export const SANDBOX_IDS = 4096;

/** Of linux/capability.h, in the order of their numbers. */
export const CAPABILITY_NAMES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ...['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF'],
  'CHECKPOINT_RESTORE',
] as const;

/** Of asm-generic/resource.h, in the order of their numbers. */
export const RLIMIT_NAMES = [
  ...['cpu', 'fsize', 'data', 'stack', 'core', 'rss', 'nproc', 'nofile', 'memlock', 'as', 'locks', 'sigpending'],
  ...['msgqueue', 'nice', 'rtprio', 'rttime'],
] as const;

const id = wholeNumber(0, LARGEST_ID, 'an id');
const UNITS = 'KMGT';
const bytes = refined(
  'a number of bytes from 1, or such as 512M or 2G (K, M, G, T: powers of 1024)',
  (value): number | undefined => {
    const match = typeof value === 'string' ? /^([1-9][0-9]{0,15})([KMGT])$/.exec(value) : null;
    const size = match === null ? value : Number(match[1]) * 1024 ** (UNITS.indexOf(match[2]!) + 1);
    return typeof size === 'number' && Number.isSafeInteger(size) && size >= 1 ? size : undefined;
  },
  { type: ['integer', 'string'], minimum: 1, pattern: '^[1-9][0-9]*[KMGT]$' },
);
const weight = wholeNumber(1, 10_000, 'a weight (100 is usual)');

export const userSpec = object('a user', {
  uid: required(id),
  gid: required(id),
  groups: required(list(id), []),
}) satisfies Schema<UserSpec>;

const bothLimits = refined(
  'a limit, or {soft, hard} with soft not above hard',
  (value): number | RlimitSpec | undefined => {
    if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const { soft, hard, ...others } = value as Record<string, unknown>;
    if (Object.keys(others).length > 0 || typeof soft !== 'number' || typeof hard !== 'number') return undefined;
    const areLimits = [soft, hard].every((one) => Number.isSafeInteger(one) && one >= 0);
    return areLimits && soft <= hard ? { soft, hard } : undefined;
  },
  { type: ['integer', 'object'] },
);

export const rlimits = mapping(
  `one of ${RLIMIT_NAMES.join(', ')}`,
  (name) => (RLIMIT_NAMES as readonly string[]).includes(name),
  bothLimits,
);

export const oomScoreAdjust = wholeNumber(-1000, 1000);

export const limitsSpec = object('limits', {
  memory: optional(bytes),
  pids: optional(wholeNumber(1, 4_194_304, 'a number of processes and threads')),
  cpuWeight: optional(weight),
  cpuPercent: optional(wholeNumber(1, 100_000, 'per cent of one CPU')),
  ioWeight: optional(weight),
  ioReadBytes: optional(bytes),
  ioWriteBytes: optional(bytes),
}) satisfies Schema<LimitsSpec>;

const systemCallNames = list(text('the name of a system call', (name) => /^[a-z0-9_]{1,40}$/.test(name)));

/** Not of single processes: which one `self` is, where `net` and `mounts` lead too, depends on who asks. */
const OF_PROCFS = '^/proc/(?![0-9]|(?:self|thread-self|net|mounts)(?:/|$))[^/]';
const ofProcfs = list(
  text(
    'a path below /proc that is not of a process',
    (path) => new RegExp(OF_PROCFS).test(path) && isNormalPath(path),
    OF_PROCFS,
  ),
);

export const securitySpec = object('what the sandbox may do beyond the default', {
  capabilities: required(
    list(
      text('a capability in capitals without CAP_, such as NET_RAW', (name) =>
        (CAPABILITY_NAMES as readonly string[]).includes(name),
      ),
    ),
    [],
  ),
  userNamespace: optional(flag()),
  firstId: optional(wholeNumber(LOWEST_SHARED_ID, LARGEST_ID - SANDBOX_IDS + 1, 'an id of the VM')),
  systemCalls: required(systemCallNames, []),
  onlySystemCalls: optional(systemCallNames),
  maskedPaths: optional(ofProcfs),
  readonlyPaths: optional(ofProcfs),
}) satisfies Schema<SecuritySpec>;

const mountFields = object('a mount', {
  kind: required(oneOf('tmpfs', 'bind')),
  path: required(absolutePath),
  source: optional(absolutePath),
  size: optional(bytes),
  writable: optional(flag()),
  scratch: optional(flag()),
  executable: optional(flag()),
});

/** Which keys go with which kind is {@link mountProblems}' to say. */
export const mounts = list(mountFields) as Schema<readonly MountSpec[]>;

const NOT_OF_TMPFS = ['source', 'writable', 'scratch'];
const NOT_OF_BIND = ['size'];

/** @param specs as {@link mounts} has read them. */
export function mountProblems(specs: readonly MountSpec[]): Problem[] {
  return specs.flatMap((spec, index) => {
    const path = ['mounts', index];
    const wrong = (spec.kind === 'tmpfs' ? NOT_OF_TMPFS : NOT_OF_BIND).filter((key) => Object.hasOwn(spec, key));
    const problems = wrong.map(
      (key): Problem => ({
        path: [...path, key],
        at: 'key',
        found: key,
        allowed: `not of a ${spec.kind}`,
      }),
    );
    if (spec.kind === 'bind' && spec.source === undefined)
      problems.push({ path: [...path, 'source'], at: 'value', found: 'missing', allowed: absolutePath.allowed });
    if (spec.kind === 'bind' && spec.scratch === true && spec.writable !== true)
      problems.push({ path: [...path, 'scratch'], at: 'value', found: 'true', allowed: 'only with writable: true' });
    return problems;
  });
}
