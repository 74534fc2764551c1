/** Full configuration → the operations that make the sandbox. Pure: nothing is read, nothing is touched. */
import { defined } from '../base/assert.ts';
import { ipv4Bytes } from '../base/ipv4.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { cgroupName, GATEWAY, INSIDE_LINK, linkName, macOf, sandboxPaths, tagOf } from './naming.ts';
import type { Operation, Side, Stdio } from './operations.ts';
import { planRoot } from './plan-root.ts';

export type PlanOptions = {
  readonly stateDirectory: string;
  readonly stdio: Stdio;
  /**
   * Make a skeleton: a hatchery of this PID (inside) stands in for the root process, and no packet is led to the
   * sandbox yet. The PID must be none that the process to come needs.
   */
  readonly skeleton?: { readonly hatcheryPid: number };
};

/** A PID that a young process and its threads do not have, below the smallest limit that kernels start with (32768). */
export const DEFAULT_HATCHERY_PID = 32_000;

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

/** What in procfs acts on the whole machine. */
const PROTECTED = ['/proc/sys', '/proc/sysrq-trigger', '/proc/irq', '/proc/bus', '/proc/fs'];

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
    { kind: 'make-network-namespace' },
    { kind: 'make-link', outside: { name: outside, mac: GATEWAY.mac }, inside: { name: INSIDE_LINK, mac } },
    ...quiet('vm', outside),
    ...quiet('sandbox', INSIDE_LINK),
    sysctl('sandbox', 'ipv4/conf/all/rp_filter', '0'),
    inOrder('vm', outside),
    inOrder('sandbox', INSIDE_LINK),
    inOrder('sandbox', 'lo'),
    { kind: 'add-address', side: 'sandbox', link: INSIDE_LINK, address },
    { kind: 'set-up', side: 'sandbox', link: 'lo' },
    { kind: 'set-up', side: 'sandbox', link: INSIDE_LINK },
    { kind: 'set-up', side: 'vm', link: outside },
    { kind: 'add-neighbour', side: 'sandbox', link: INSIDE_LINK, address: GATEWAY.address, mac: GATEWAY.mac },
    { kind: 'add-neighbour', side: 'vm', link: outside, address, mac },
    { kind: 'add-route', side: 'sandbox', link: INSIDE_LINK, destination: 'default', gateway: GATEWAY.address },
    ...(routed ? [{ kind: 'add-route', side: 'vm', link: outside, destination: address } as const] : []),
  ];
}

function planMounts(writable: readonly { readonly path: string; readonly mode: number }[]): Operation[] {
  return [
    { kind: 'make-mounts-private' },
    { kind: 'bind-root' },
    { kind: 'mount-tmpfs', path: '/dev', mode: 0o755, sizeBytes: DEVICE_DIRECTORY_BYTES },
    ...DEVICES.map((device): Operation => ({ kind: 'make-device', ...device })),
    ...DEVICE_LINKS.map((link): Operation => ({ kind: 'make-symlink', ...link })),
    ...writable.map(({ path, mode }): Operation => ({ kind: 'mount-tmpfs', path, mode, sizeBytes: WRITABLE_BYTES })),
  ];
}

function planHatchery(pid: number, stdio: Stdio): Operation[] {
  return [
    { kind: 'set-next-pid', pid },
    { kind: 'start-hatchery', stdio },
  ];
}

/** @throws ComicranError config.bad-path */
export function planSandbox(config: FullConfig, options: PlanOptions): Operation[] {
  const tag = tagOf(options.stateDirectory, config.id);
  const root = planRoot(config);
  const { skeleton } = options;
  return [
    { kind: 'make-root', hostPath: config.root ?? sandboxPaths(options.stateDirectory, config.id).root },
    { kind: 'make-cgroup', name: cgroupName(tag) },
    { kind: 'join-cgroup' },
    ...root.operations,
    ...planNetwork(config.network.address, tag, skeleton === undefined),
    { kind: 'enter-namespaces' },
    { kind: 'set-hostname', name: config.id },
    { kind: 'refuse-io-uring' },
    ...planMounts(root.writable),
    // PID 1 and what is executed from the VM's own files come before the pivot, which puts those out of reach.
    { kind: 'start-init' },
    { kind: 'mount-proc' },
    ...(skeleton === undefined ? [] : planHatchery(skeleton.hatcheryPid, options.stdio)),
    ...PROTECTED.map((path): Operation => ({ kind: 'protect', path })),
    { kind: 'make-read-only', path: '/dev' },
    { kind: 'make-read-only', path: '/' },
    { kind: 'await-idle' },
    { kind: 'pivot-root' },
    ...(skeleton === undefined
      ? [{ kind: 'start-process', process: config.process, stdio: options.stdio } as const]
      : []),
    { kind: 'leave-namespaces' },
  ];
}
