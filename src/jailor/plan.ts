/** Full configuration → the operations that make the sandbox. Pure: nothing is read, nothing is touched. */
import { defined } from '../base/assert.ts';
import { ipv4Bytes } from '../base/ipv4.ts';
import type { FullConfig, MountSpec } from '../base/sandbox-config.ts';
import { idMapsOf, type Owner, rootOf } from './ids.ts';
import { cgroupName, GATEWAY, INSIDE_LINK, linkName, macOf, sandboxPaths, tagOf } from './naming.ts';
import type { Operation, Side, Stdio } from './operations.ts';
import { planRoot, type RootPlan } from './plan-root.ts';
import { privilegesOf } from './privileges.ts';
import { checkSystemCalls } from './system-calls.ts';

export type PlanOptions = {
  readonly stateDirectory: string;
  readonly stdio: Stdio;
  /**
   * Make a skeleton: a hatchery of this PID (inside) stands in for the root process, and no packet is led to the
   * sandbox yet. The PID must be none that the process to come needs.
   */
  readonly skeleton?: { readonly hatcheryPid: number };
  /** Make a sandbox that waits for its start: everything is there but the root process. */
  readonly created?: true;
};

/** Permission bits of others. */
const READ = 4;
const EXECUTE = 1;

const WRITABLE_BYTES = 256 * 2 ** 20;
const DEVICE_DIRECTORY_BYTES = 2 ** 20;

/** Numbers from Documentation/admin-guide/devices.txt. */
const DEVICES = [
  { path: '/dev/null', major: 1, minor: 3 },
  { path: '/dev/zero', major: 1, minor: 5 },
  { path: '/dev/full', major: 1, minor: 7 },
  { path: '/dev/random', major: 1, minor: 8 },
  { path: '/dev/urandom', major: 1, minor: 9 },
] as const;

const DEVICE_LINKS = [
  { path: '/dev/fd', target: '/proc/self/fd' },
  { path: '/dev/stdin', target: '/proc/self/fd/0' },
  { path: '/dev/stdout', target: '/proc/self/fd/1' },
  { path: '/dev/stderr', target: '/proc/self/fd/2' },
] as const;

/** What the kernel shows of the whole machine, as container runtimes hide it (maskedPaths of the OCI specification). */
export const MASKED = [
  ...['/proc/acpi', '/proc/asound', '/proc/interrupts', '/proc/kcore', '/proc/keys', '/proc/latency_stats'],
  ...['/proc/timer_list', '/proc/timer_stats', '/proc/sched_debug', '/proc/scsi', '/proc/kallsyms', '/proc/kpagecount'],
  ...['/proc/kpageflags', '/proc/kpagecgroup', '/proc/kmsg', '/proc/config.gz', '/proc/vmallocinfo', '/proc/slabinfo'],
  ...['/proc/modules', '/proc/iomem', '/proc/ioports', '/proc/key-users'],
];
/** What in procfs acts on the whole machine (readonlyPaths). */
export const PROTECTED = ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus', '/proc/fs'];

/** With one of these it could make a read-only mount writable, or write to a disk by its number. */
const REMOUNTING: readonly string[] = ['SYS_ADMIN', 'SYS_RAWIO', 'MKNOD'];

/** Where a configuration says nothing. Enough for a server, and too little to bring a machine down. */
const DEFAULT_LIMITS = { memory: 4 * 2 ** 30, pids: 512 } as const;

/** Bytes that a sandbox may use. */
export const memoryLimitOf = ({ limits }: Pick<FullConfig, 'limits'>): number =>
  limits?.memory ?? DEFAULT_LIMITS.memory;

function planNetwork(address: string, tag: string, routed: boolean): Operation[] {
  const outside = linkName(tag);
  const mac = macOf(address);
  const sysctl = (side: Side, key: string, value: string): Operation => ({ kind: 'set-sysctl', side, key, value });
  // Before the links are up: IPv6 speaks as soon as a link is.
  const quiet = (side: Side, link: string): Operation[] => [
    sysctl(side, `ipv6/conf/${link}/disable_ipv6`, '1'),
    sysctl(side, `ipv4/conf/${link}/rp_filter`, '0'),
    { kind: 'switch-offloads-off', side, link },
  ];
  // In the order in which they come in, packets get to the sockets, and what the sockets send gets to the VM.
  const seed = defined(ipv4Bytes(address)[3], 'the last byte of an address');
  const inOrder = (side: Side, link: string): Operation => ({ kind: 'receive-on-one-cpu', side, link, seed });
  return [
    { kind: 'make-link', outside: { name: outside, mac: GATEWAY.mac }, inside: { name: INSIDE_LINK, mac } },
    ...quiet('vm', outside),
    ...quiet('sandbox', INSIDE_LINK),
    sysctl('sandbox', 'ipv4/conf/all/rp_filter', '0'),
    // All ports are the sandbox's own: that needs no capability.
    sysctl('sandbox', 'ipv4/ip_unprivileged_port_start', '0'),
    inOrder('vm', outside),
    inOrder('sandbox', INSIDE_LINK),
    inOrder('sandbox', 'lo'),
    { kind: 'add-address', side: 'sandbox', link: INSIDE_LINK, address },
    { kind: 'set-up', side: 'sandbox', link: 'lo' },
    // Before the link is up: later it would drop what it is given in that moment.
    { kind: 'add-hold', side: 'sandbox', link: INSIDE_LINK },
    { kind: 'set-up', side: 'sandbox', link: INSIDE_LINK },
    { kind: 'set-up', side: 'vm', link: outside },
    { kind: 'add-neighbour', side: 'sandbox', link: INSIDE_LINK, address: GATEWAY.address, mac: GATEWAY.mac },
    { kind: 'add-neighbour', side: 'vm', link: outside, address, mac },
    { kind: 'add-route', side: 'sandbox', link: INSIDE_LINK, destination: 'default', gateway: GATEWAY.address },
    ...(routed ? [{ kind: 'add-route', side: 'vm', link: outside, destination: address } as const] : []),
  ];
}

function planMounts(root: RootPlan, mounts: readonly MountSpec[], owner: Owner): Operation[] {
  const tmpfs = (path: string, mode: number, sizeBytes: number, executable: boolean) => {
    return { kind: 'mount-tmpfs' as const, path, mode, sizeBytes, executable, owner };
  };
  return [
    { kind: 'make-mounts-private' },
    { kind: 'bind-root' },
    { ...tmpfs('/dev', 0o755, DEVICE_DIRECTORY_BYTES, false), devices: true },
    ...DEVICES.map((device): Operation => ({ kind: 'make-device', ...device, owner })),
    ...DEVICE_LINKS.map((link): Operation => ({ kind: 'make-symlink', ...link })),
    ...root.mountPoints.map(({ path, mode }): Operation => {
      const spec = mounts.find((mount) => mount.path === path);
      const executable = spec?.executable ?? false;
      if (spec?.kind !== 'bind') return tmpfs(path, mode, spec?.size ?? WRITABLE_BYTES, executable);
      return { kind: 'mount-bind', path, source: spec.source, writable: spec.writable ?? false, executable };
    }),
  ];
}

/** Files and directories that others than their owner cannot use as the owner can. */
function closedTo(operations: readonly Operation[]): string[] {
  return operations.flatMap((operation) => {
    if (operation.kind !== 'place-file' && operation.kind !== 'make-directory') return [];
    const { mode, path } = operation;
    const needed = (mode >> 6) & (READ | EXECUTE);
    return (mode & needed) === needed ? [] : [path];
  });
}

/** @throws ComicranError config.bad-path, config.invalid */
export function planSandbox(config: FullConfig, options: PlanOptions): Operation[] {
  const tag = tagOf(options.stateDirectory, config.id);
  const root = planRoot(config);
  const { skeleton } = options;
  const privileges = privilegesOf(config);
  const ids = idMapsOf(config);
  const hasUsers = ids.users.length > 0;
  // What cannot be is told before anything is made.
  checkSystemCalls(privileges);
  return [
    { kind: 'make-root', hostPath: config.root ?? sandboxPaths(options.stateDirectory, config.id).root },
    {
      kind: 'make-cgroup',
      name: cgroupName(tag),
      limits: { ...DEFAULT_LIMITS, ...config.limits },
      required: Object.keys(config.limits ?? {}),
      disk: options.stateDirectory,
    },
    { kind: 'start-zygote', stdio: options.stdio },
    { kind: 'join-cgroup' },
    { kind: 'begin-tree' },
    ...root.operations,
    { kind: 'finish-tree', own: privileges.capabilities.some((name) => REMOUNTING.includes(name)) },
    { kind: 'make-namespaces', ids },
    ...planNetwork(config.network.address, tag, skeleton === undefined),
    { kind: 'start-seat', ...(skeleton === undefined ? {} : { pid: skeleton.hatcheryPid }) },
    ...(hasUsers ? [{ kind: 'map-root', closed: closedTo(root.operations) } as const] : []),
    { kind: 'enter-namespaces' },
    { kind: 'set-hostname', name: config.id },
    ...planMounts(root, config.mounts ?? [], rootOf(ids)),
    { kind: 'mount-proc' },
    ...MASKED.map((path): Operation => ({ kind: 'mask', path })),
    ...PROTECTED.map((path): Operation => ({ kind: 'protect', path })),
    // Behind the others: a view of /proc/sys that is laid over it would cover what is hidden in it.
    ...(config.security?.readonlyPaths ?? []).map((path): Operation => ({ kind: 'protect', path })),
    ...(config.security?.maskedPaths ?? []).map((path): Operation => ({ kind: 'mask', path })),
    { kind: 'make-read-only', path: '/dev' },
    { kind: 'make-read-only', path: '/' },
    { kind: 'pivot-root' },
    { kind: 'leave-namespaces' },
    ...(hasUsers ? [{ kind: 'enter-user-namespace' } as const] : []),
    skeleton === undefined && options.created !== true
      ? { kind: 'start-process', process: config.process, privileges }
      : { kind: 'keep-hatchery' },
    { kind: 'end-zygote' },
  ];
}
