/** `process` of a bundle: what runs, as whom, with which limits. */
import { posix } from 'node:path';
import { isNormalPath } from '../../base/config-schemas.ts';
import { CAPABILITY_NAMES, RLIMIT_NAMES } from '../../base/containment-schemas.ts';
import type { ProcessSpec, RlimitSpec, UserSpec } from '../../base/sandbox-config.ts';
import type { Part } from './part.ts';
import { type Report, shown } from './report.ts';

export type BundleProcess = {
  /** `executable` as the bundle has it: perhaps a name that PATH leads to. */
  readonly process: ProcessSpec;
  readonly capabilities: readonly string[];
};

const DEFAULT_UMASK = 0o022;
/** Each of them acts on the machine, or takes something from the sandbox that others rely on. */
const TOO_MUCH = [
  ...['SYS_ADMIN', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_PTRACE', 'SYS_BOOT', 'SYS_TIME', 'SYSLOG', 'BPF', 'PERFMON'],
  ...['MAC_ADMIN', 'MAC_OVERRIDE', 'DAC_READ_SEARCH', 'NET_ADMIN', 'AUDIT_CONTROL', 'AUDIT_READ', 'LINUX_IMMUTABLE'],
  ...['SYS_TTY_CONFIG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'SYS_PACCT', 'SYS_RESOURCE', 'CHECKPOINT_RESTORE'],
] as const;

export function processOf(part: Part, report: Report): BundleProcess {
  const user = userOf(part, report);
  const [executable = '', ...words] = part.texts('args');
  if (executable === '') report.error(part.at('args'), 'it names no program');
  const rlimits = rlimitsOf(part, report);
  const oomScoreAdjust = part.number('oomScoreAdj');
  const capabilities = capabilitiesOf(part.part('capabilities'), user.uid, report);
  if (part.flag('noNewPrivileges') !== true)
    report.note(part.at('noNewPrivileges'), 'it is on in every sandbox: set-user-ID programs gain nothing');
  part.remark({
    terminal: 'a sandbox has no terminal of its own: the streams of who starts it, or a log',
    consoleSize: 'a sandbox has no terminal of its own',
    ioPriority: 'its input and output have the priority that everybody has',
    scheduler: 'it is scheduled as everybody is',
    execCPUAffinity: 'it runs on the CPUs that everybody runs on',
  });
  part.refuse({
    apparmorProfile: 'this confinement would be missing',
    selinuxLabel: 'this confinement would be missing',
    commandLine: 'it is for Windows',
  });
  const process: ProcessSpec = {
    executable,
    arguments: words,
    environment: environmentOf(part, report),
    workingDirectory: workingDirectoryOf(part, report),
    user,
    ...(Object.keys(rlimits).length === 0 ? {} : { rlimits }),
    ...(oomScoreAdjust === undefined ? {} : { oomScoreAdjust }),
  };
  part.end();
  return { process, capabilities };
}

function userOf(part: Part, report: Report): UserSpec {
  const user = part.part('user');
  if (user === undefined) return { uid: 0, gid: 0, groups: [] };
  const umask = user.number('umask') ?? DEFAULT_UMASK;
  if (umask !== DEFAULT_UMASK)
    report.error(user.at('umask'), `${umask.toString(8)} in octal: what it makes would have the permissions of 022`);
  const spec = {
    uid: user.number('uid') ?? 0,
    gid: user.number('gid') ?? 0,
    groups: user.numbers('additionalGids'),
  };
  user.refuse({ username: 'it is for Windows: a sandbox knows users by their numbers' });
  user.end();
  return spec;
}

function environmentOf(part: Part, report: Report): Readonly<Record<string, string>> {
  const entries = part.texts('env').map((text, index): [string, string] => {
    const at = text.indexOf('=');
    if (at <= 0) report.error(`${part.at('env')}[${index}]`, `${shown(text)} is not NAME=VALUE`);
    return [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  });
  return Object.fromEntries(entries.filter(([name]) => name !== ''));
}

function workingDirectoryOf(part: Part, report: Report): string {
  const directory = part.text('cwd') ?? '/';
  const normal = directory.length > 1 ? posix.normalize(directory).replace(/\/$/, '') : directory;
  if (isNormalPath(normal)) return normal;
  report.error(part.at('cwd'), `${shown(directory)} is not an absolute path`);
  return '/';
}

/** 2^64-1 in C, and what is left of it in a number of JSON: no limit. */
function limitOf(value: number | undefined): number {
  return Math.min(Math.max(value ?? 0, 0), Number.MAX_SAFE_INTEGER);
}

function rlimitsOf(part: Part, report: Report): Record<string, RlimitSpec> {
  const limits: Record<string, RlimitSpec> = {};
  for (const limit of part.parts('rlimits')) {
    const type = limit.text('type') ?? '';
    const [soft, hard] = [limitOf(limit.number('soft')), limitOf(limit.number('hard'))];
    limit.end();
    const name = RLIMIT_NAMES.find((known) => type === `RLIMIT_${known.toUpperCase()}`);
    if (name === undefined) report.error(limit.at('type'), `${shown(type)} is no limit of Linux`);
    else if (soft > hard) report.error(limit.path, `soft (${soft}) is more than hard (${hard})`);
    else limits[name] = { soft, hard };
  }
  return limits;
}

/**
 * What the program would have after its execve (capabilities(7)): a user 0 all of the bounding set, another one the ambient
 * set. A sandbox has one set for everything, so this is it.
 */
function capabilitiesOf(part: Part | undefined, uid: number, report: Report): readonly string[] {
  if (part === undefined) return [];
  const sets = Object.fromEntries(
    ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'].map((name) => [name, part.texts(name)]),
  );
  part.end();
  const name = uid === 0 ? 'bounding' : 'ambient';
  return [...new Set(sets[name])].flatMap((text) => {
    const capability = text.replace(/^CAP_/, '');
    const path = part.at(name);
    if (!(CAPABILITY_NAMES as readonly string[]).includes(capability)) {
      report.error(path, `${shown(text)} is no capability`);
      return [];
    }
    if (!(TOO_MUCH as readonly string[]).includes(capability)) return [capability];
    report.error(path, `${text} acts on the whole machine, or on what holds the sandbox: it is not given`);
    return [];
  });
}
