/** `linux` of a bundle: namespaces, limits, and what is hidden. */

import { securitySpec } from '../../base/containment-schemas.ts';
import type { LimitsSpec, SecuritySpec } from '../../base/sandbox-config.ts';
import { isWithin } from '../../base/sandbox-tree.ts';
import type { Part } from './part.ts';
import { type Report, shown } from './report.ts';
import { limitsOf } from './resources.ts';
import { onlySystemCallsOf, type Profile } from './seccomp.ts';

export type BundleLinux = {
  readonly limits: LimitsSpec;
  readonly security: Pick<SecuritySpec, 'onlySystemCalls' | 'maskedPaths' | 'readonlyPaths'>;
  /** Of the root file system: they are left out of it. */
  readonly hidden: readonly string[];
};

export type LinuxContext = {
  readonly report: Report;
  readonly profile: Profile;
  /** What every sandbox has hidden or read-only. */
  readonly alwaysMasked: readonly string[];
  readonly alwaysReadonly: readonly string[];
};

const NAMESPACES = ['pid', 'network', 'mount', 'ipc', 'uts', 'cgroup', 'user', 'time'];
const USUAL_DEVICES = [
  ...['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom', '/dev/tty', '/dev/console', '/dev/ptmx'],
];
const SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_unprivileged_port_start': 'all ports can be bound in a sandbox',
  'net.ipv4.ping_group_range': 'nobody can make sockets for ping',
};

export function linuxOf(part: Part, context: LinuxContext): BundleLinux {
  const { report } = context;
  namespacesOf(part, report);
  for (const device of part.parts('devices')) {
    const path = device.text('path') ?? '';
    if (!USUAL_DEVICES.includes(path)) report.error(device.path, `${shown(path)}: a sandbox has no such device`);
  }
  const sysctl = part.part('sysctl');
  for (const key of sysctl?.keys() ?? []) {
    const why = SYSCTLS[key];
    if (why === undefined) report.error(sysctl!.at(shown(key)), `it would stay as it is: ${shown(sysctl!.take(key))}`);
    else report.note(sysctl!.at(key), why);
  }
  const resources = part.part('resources');
  const limits = resources === undefined ? {} : limitsOf(resources, report);
  const seccomp = part.part('seccomp');
  const only = seccomp === undefined ? undefined : onlySystemCallsOf(seccomp, context.profile, report);
  const masked = pathsOf(part, 'maskedPaths', context.alwaysMasked, report);
  const readonly = pathsOf(part, 'readonlyPaths', context.alwaysReadonly, report);
  const propagation = part.text('rootfsPropagation') ?? 'private';
  if (!/^r?(?:private|slave)$/.test(propagation))
    report.error(part.at('rootfsPropagation'), `${shown(propagation)}: what is mounted would be seen outside`);
  part.remark({
    cgroupsPath: 'its control group has a name of its own',
    personality: 'it is that of the machine; the program may change it as far as its system calls let it',
    uidMappings: 'each sandbox has ids of the machine of its own',
    gidMappings: 'each sandbox has ids of the machine of its own',
  });
  part.refuse({
    intelRdt: 'this limit is not available',
    mountLabel: 'this confinement would be missing',
    timeOffsets: 'its clocks are those of the machine',
    memoryPolicy: 'its memory would come from any node',
    netDevices: 'a sandbox has one link, which is its own',
  });
  part.end();
  return {
    limits,
    security: {
      ...(only === undefined ? {} : { onlySystemCalls: only }),
      ...(masked.procfs.length === 0 ? {} : { maskedPaths: masked.procfs }),
      ...(readonly.procfs.length === 0 ? {} : { readonlyPaths: readonly.procfs }),
    },
    hidden: masked.others,
  };
}

function namespacesOf(part: Part, report: Report): void {
  const types = part.parts('namespaces').map((namespace) => {
    const type = namespace.text('type') ?? '';
    if (!NAMESPACES.includes(type)) report.error(namespace.path, `${shown(type)}: there is no such namespace`);
    const path = namespace.text('path');
    if (path !== undefined && path !== '')
      report.error(namespace.at('path'), `${shown(path)}: a sandbox shares no namespace with anybody`);
    namespace.end();
    return type;
  });
  const own = NAMESPACES.filter((type) => !types.includes(type));
  if (own.length > 0) report.note(part.at('namespaces'), `it has its own all the same: ${own.join(', ')}`);
}

/** Those of procfs that not every sandbox has so, and those of the root file system. There is no /sys. */
function pathsOf(
  part: Part,
  key: 'maskedPaths' | 'readonlyPaths',
  always: readonly string[],
  report: Report,
): { readonly procfs: readonly string[]; readonly others: readonly string[] } {
  const schema = securitySpec.shape![key]!.schema;
  const paths = part.texts(key).filter((path) => !always.includes(path) && !isWithin(path, '/sys'));
  const procfs = paths.filter((path) => isWithin(path, '/proc'));
  const kept = procfs.filter((path) => {
    const isPossible = schema.read([path], [], () => {}) !== undefined;
    if (!isPossible) report.error(part.at(key), `${shown(path)}: not of what /proc says of a process`);
    return isPossible;
  });
  return { procfs: kept, others: paths.filter((path) => !isWithin(path, '/proc')) };
}
