/** Root directory and cgroup of a sandbox under construction. */
import { ComicranError } from '../base/errors.ts';
import { cgroupNamed, findCgroupTrees, makeCgroup, removeCgroup } from '../linux/cgroup.ts';
import type { Construction } from './construction.ts';
import { makeRootDirectory, removeRootDirectory } from './root-directory.ts';

const CGROUP_EMPTY_TIMEOUT_MS = 5_000;

export function makeSandboxRoot(construction: Construction, hostPath: string): void {
  const root = makeRootDirectory(hostPath);
  construction.cleanup.defer(`remove ${hostPath}`, () => removeRootDirectory(hostPath, root));
  construction.root = hostPath;
  construction.prefix = hostPath;
}

export function makeSandboxCgroup(construction: Construction, name: string): void {
  const cgroup = cgroupNamed(name, findCgroupTrees());
  if (cgroup === undefined) {
    throw new ComicranError('needs.kernel', 'no cgroup hierarchy with a freezer is mounted', {
      hint: 'Mount cgroup2 at /sys/fs/cgroup, as Debian does.',
    });
  }
  construction.cleanup.defer(`remove cgroup ${name}`, () => removeCgroup(cgroup, CGROUP_EMPTY_TIMEOUT_MS));
  makeCgroup(cgroup);
  construction.cgroup = cgroup;
}
