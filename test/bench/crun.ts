/** crun (Debian package crun) with a profile that is like jailor's, for comparison. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultSystemCalls } from '../../src/jailor/system-calls.ts';

/**
 * crun works with one version of cgroups alone; where a machine has both, the second is unmounted for it, in a mount
 * namespace of its own.
 */
const ONE_VERSION = 'grep -q "cgroup2 /sys/fs/cgroup " /proc/mounts || umount /sys/fs/cgroup/unified 2>/dev/null || :';
const FIRST_ID = 1_000_000;
const IDS = 4096;

/** @param directory to be made, for the bundle. @returns undefined: there is no crun. */
export function crunCommand(directory: string, root: string, words: readonly string[]): readonly string[] | undefined {
  if (spawnSync('which', ['crun']).status !== 0) return undefined;
  mkdirSync(directory);
  execFileSync('crun', ['spec'], { cwd: directory });
  const file = join(directory, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  const ids = [{ containerID: 0, hostID: FIRST_ID, size: IDS }];
  Object.assign(config.process, { terminal: false, args: words, noNewPrivileges: true });
  const none: string[] = [];
  config.process.capabilities = { bounding: none, effective: none, inheritable: none, permitted: none, ambient: none };
  config.root = { path: root, readonly: true };
  config.linux.namespaces = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup', 'user'].map((type) => ({ type }));
  Object.assign(config.linux, { uidMappings: ids, gidMappings: ids });
  config.linux.resources = { memory: { limit: 4 * 2 ** 30 }, pids: { limit: 512 } };
  config.linux.seccomp = {
    defaultAction: 'SCMP_ACT_ERRNO',
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [{ names: [...defaultSystemCalls(), 'clone3'], action: 'SCMP_ACT_ALLOW' }],
  };
  writeFileSync(file, JSON.stringify(config));
  const run = `${ONE_VERSION}; exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', run, 'sh', 'crun', 'run', '--bundle', directory, `bench-${process.pid}`];
}
