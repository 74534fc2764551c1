/** `mounts` of a bundle: those that every sandbox has, those that a configuration can have, and the rest by name. */
import { posix } from 'node:path';
import { isNormalPath } from '../../base/config-schemas.ts';
import type { MountSpec } from '../../base/sandbox-config.ts';
import { isWithin } from '../../base/sandbox-tree.ts';
import type { Part } from './part.ts';
import { type Report, shown } from './report.ts';

/** A mount, and the permission bits of the directory that it is mounted on. */
export type BundleMount = { readonly spec: MountSpec; readonly mode?: number };

export type MountContext = {
  readonly bundle: string;
  /** Every link of the root file system followed. */
  readonly resolve: (path: string) => string | undefined;
  readonly report: Report;
};

const UNITS = 'kmgt';
const TMPFS_MODE = 0o1777;
/** Kernel file systems that a sandbox has in its own way, or does without, by type: what is said of them. */
const OWN: Readonly<Record<string, string>> = {
  proc: '',
  devpts: 'a sandbox has no terminals',
  mqueue: 'message queues can be used, and not be seen',
  sysfs: 'a sandbox has no /sys',
  cgroup: 'a sandbox does not see its control group',
  cgroup2: 'a sandbox does not see its control group',
};
const HARMLESS = [
  ...['nosuid', 'nodev', 'noexec', 'exec', 'ro', 'rw', 'bind', 'rbind', 'relatime', 'norelatime', 'strictatime'],
  ...['nostrictatime', 'noatime', 'nodiratime', 'atime', 'diratime', 'async', 'private', 'rprivate', 'slave', 'rslave'],
  ...['defaults', 'noswap', 'rnosuid', 'rnodev', 'rnoexec', 'rro', 'nosymfollow'],
];

export function mountsOf(parts: readonly Part[], context: MountContext): BundleMount[] {
  const mounts = new Map<string, BundleMount>();
  for (const part of parts) {
    const mount = mountOf(part, context);
    // What is mounted later lies over what was there.
    if (mount !== undefined) mounts.set(mount.spec.path, mount);
  }
  return [...mounts.values()].toSorted((a, b) => (a.spec.path < b.spec.path ? -1 : 1));
}

function mountOf(part: Part, { bundle, resolve, report }: MountContext): BundleMount | undefined {
  const options = part.texts('options');
  const source = part.text('source');
  const isBind = options.includes('bind') || options.includes('rbind');
  const type = isBind ? 'bind' : (part.text('type') ?? 'bind');
  part.take('type');
  part.refuse({
    uidMappings: 'ids are the same on both sides',
    gidMappings: 'ids are the same on both sides',
  });
  const named = part.text('destination') ?? '';
  part.end();
  const normal = named.startsWith('/') ? posix.normalize(named).replace(/(?<=.)\/$/, '') : named;
  const path = isNormalPath(normal) ? resolve(normal) : undefined;
  if (path === undefined) {
    report.error(part.at('destination'), `${shown(named)} is not an absolute path, or its links form a loop`);
    return undefined;
  }
  const own = OWN[type];
  if (own !== undefined) {
    if (own !== '') report.note(part.path, `${path}: ${own}`);
    else if (path !== '/proc') report.error(part.path, `${path}: processes can be seen at /proc alone`);
    return undefined;
  }
  if (path === '/dev' && type === 'tmpfs') return undefined;
  checkOptions(part, type, options, report);
  const executable = !options.some((option) => option === 'noexec' || option === 'rnoexec');
  const shape = executable ? { executable } : {};
  if (type === 'tmpfs') return tmpfs(path, options, shape);
  if (type !== 'bind') {
    report.error(part.path, `${path}: a file system of the type ${shown(type)} cannot be mounted`);
    return undefined;
  }
  if (isWithin(path, '/dev') || isWithin(path, '/proc') || isWithin(path, '/sys')) {
    report.error(part.path, `${path}: nothing of the machine can be there`);
    return undefined;
  }
  if (source === undefined || source === '') {
    report.error(part.at('source'), 'a bind has a source');
    return undefined;
  }
  const from = posix.resolve(bundle, source);
  report.note(part.path, `${path}: ${shown(from)} must be there on every machine, and does not move with the sandbox`);
  const isReadOnly = options.includes('ro') || options.includes('rro');
  return { spec: { kind: 'bind', path, source: from, ...(isReadOnly ? {} : { writable: true }), ...shape } };
}

function tmpfs(path: string, options: readonly string[], shape: { executable?: true }): BundleMount {
  const size = /^size=([0-9]{1,15})([kmgt]?)$/i.exec(options.findLast((option) => option.startsWith('size=')) ?? '');
  const bytes = size === null ? 0 : Number(size[1]) * 1024 ** (UNITS.indexOf(size[2]!.toLowerCase() || ' ') + 1);
  const mode = /^mode=([0-7]{3,5})$/.exec(options.findLast((option) => option.startsWith('mode=')) ?? '');
  return {
    spec: { kind: 'tmpfs', path, ...(bytes >= 1 && Number.isSafeInteger(bytes) ? { size: bytes } : {}), ...shape },
    mode: mode === null ? TMPFS_MODE : Number.parseInt(mode[1]!, 8) & TMPFS_MODE,
  };
}

function checkOptions(part: Part, type: string, options: readonly string[], report: Report): void {
  const [isTmpfs, path] = [type === 'tmpfs', part.at('options')];
  for (const option of options) {
    if (HARMLESS.includes(option)) continue;
    if (isTmpfs && /^(?:mode=[0-7]{3,5}|size=[0-9]{1,15}[kmgt]?)$/i.test(option)) continue;
    if (option === 'suid' || option === 'dev') report.note(path, `${option}: no mount of a sandbox honours them`);
    else if (isTmpfs && /^(?:uid|gid|nr_inodes|nr_blocks|huge|mpol)=/.test(option))
      report.note(path, `${shown(option)}: it belongs to root, and has the limits that its size gives it`);
    else if (/^r?shared$|^r?unbindable$/.test(option))
      report.error(path, `${option}: what is mounted would be seen outside`);
    else report.error(path, `${shown(option)}: an option that this program does not know`);
  }
  if (isTmpfs && options.includes('ro')) report.note(path, 'ro: an empty tmpfs that can be written to');
}
