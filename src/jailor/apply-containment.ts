/** Root directory, cgroup and zygote of a sandbox under construction: what there is of it before its namespaces. */
import { ComicranError } from '../base/errors.ts';
import { cgroupNamed, findCgroupTrees, makeCgroup, removeCgroup, thawCgroup } from '../linux/cgroup.ts';
import { setLimits, treesFor } from '../linux/cgroup-limits.ts';
import { type Child, killed } from './child.ts';
import type { Construction } from './construction.ts';
import type { Operation, Stdio } from './operations.ts';
import { startZygote } from './programs.ts';
import { makeRootDirectory, removeRootDirectory } from './root-directory.ts';

const CGROUP_EMPTY_TIMEOUT_MS = 5_000;

export function makeSandboxRoot(construction: Construction, hostPath: string): void {
  const root = makeRootDirectory(hostPath);
  construction.cleanup.defer(`remove ${hostPath}`, () => removeRootDirectory(hostPath, root));
  construction.root = hostPath;
  construction.prefix = hostPath;
}

export function makeSandboxCgroup(
  construction: Construction,
  { name, limits, required, disk }: Extract<Operation, { kind: 'make-cgroup' }>,
): void {
  const trees = treesFor(findCgroupTrees(), limits);
  const cgroup = cgroupNamed(name, trees);
  if (cgroup === undefined) {
    throw new ComicranError('needs.kernel', 'no cgroup hierarchy with a freezer is mounted', {
      hint: 'Mount cgroup2 at /sys/fs/cgroup, as Debian does.',
    });
  }
  construction.cleanup.defer(`remove cgroup ${name}`, () => removeCgroup(cgroup, CGROUP_EMPTY_TIMEOUT_MS));
  makeCgroup(cgroup);
  construction.cgroup = cgroup;
  setLimits(name, trees, limits, new Set(required), disk);
}

export function startSandboxZygote(construction: Construction, stdio: Stdio): void {
  const zygote = construction.withNull((fd) => startZygote(construction.stdioFds(stdio, fd)));
  construction.zygote = kept(construction, 'end the zygote', zygote);
}

/** A child that is ended when the sandbox is taken down. */
export function kept(construction: Construction, name: string, child: Child): Child {
  construction.cleanup.defer(name, async () => {
    // A frozen process does not die before it is thawed.
    if (construction.cgroup !== undefined) thawCgroup(construction.cgroup);
    await killed(child);
  });
  return child;
}
