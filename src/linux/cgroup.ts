/**
 * Control groups: version 2, version 1, or both at once (hybrid: version 1 controllers beside an empty version 2 tree).
 * A sandbox has one group of the same name in each tree that is used here: the version 2 tree (below a parent that all of
 * them have), and of version 1 those of the freezer and of the controllers that it has limits of.
 * cgroups(7); Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/freezer.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, writeFileSync, write as writeToFd } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export type CgroupTree = {
  readonly version: 1 | 2;
  /** Of version 1: `freezer`, `pids`… Empty for version 2, whose controllers are switched on group by group. */
  readonly controllers: readonly string[];
  readonly mountPoint: string;
};

const USED_V1_CONTROLLERS = ['freezer', 'pids', 'memory', 'cpu', 'blkio'];
const REMOVE_RETRY_MS = 5;
/**
 * Of the groups of version 2, below the root. A controller that is switched on in it cannot be switched off above it (EBUSY):
 * systemd does that at each `daemon-reload` with those that none of its units needs, and the limits of groups right below the
 * root are gone then without a word (seen with cpu and io, systemd 252).
 */
const PARENT = 'comicran';

/** The trees that sandboxes get a group in. @param mountinfo text of /proc/self/mountinfo. */
export function parseCgroupTrees(mountinfo: string): CgroupTree[] {
  const trees = mountinfo.split('\n').flatMap((line): CgroupTree[] => {
    const [left = '', right = ''] = line.split(' - ');
    const mountPoint = left.split(' ')[4] ?? '';
    const [type, , options = ''] = right.split(' ');
    if (type === 'cgroup2') return [{ version: 2, controllers: [], mountPoint }];
    if (type !== 'cgroup') return [];
    const controllers = options.split(',').filter((option) => USED_V1_CONTROLLERS.includes(option));
    return controllers.length === 0 ? [] : [{ version: 1, controllers, mountPoint }];
  });
  // The same tree may be mounted at more than one place; the first is as good as any.
  return trees.filter((tree, index) => trees.findIndex((other) => sameTree(tree, other)) === index);
}

function sameTree(a: CgroupTree, b: CgroupTree): boolean {
  return a.version === b.version && a.controllers.join() === b.controllers.join();
}

export function findCgroupTrees(): CgroupTree[] {
  return parseCgroupTrees(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** A group of one name in all used trees. */
export type Cgroup = {
  /** Directories, one a tree. */
  readonly paths: readonly string[];
  /** Where its processes can be frozen: `cgroup.freeze` of version 2, else `freezer.state` of version 1. */
  readonly freezer: { readonly version: 1 | 2; readonly path: string };
};

/** Where a group of this name is in a tree. */
export function groupDirectory({ version, mountPoint }: CgroupTree, name: string): string {
  return version === 2 ? join(mountPoint, PARENT, name) : join(mountPoint, name);
}

/** The directories that a group of this name has. @returns undefined when no tree is mounted that has a freezer. */
export function cgroupNamed(name: string, trees: readonly CgroupTree[]): Cgroup | undefined {
  // In a hybrid, version 2 has no controllers, but its own freezer works all the same; version 1 is what tools look at.
  const tree =
    trees.find(({ controllers }) => controllers.includes('freezer')) ?? trees.find(({ version }) => version === 2);
  if (tree === undefined) return undefined;
  return {
    paths: trees.map((each) => groupDirectory(each, name)),
    freezer: { version: tree.version, path: groupDirectory(tree, name) },
  };
}

/** Fails with EEXIST when it is there. */
export function makeCgroup(cgroup: Cgroup): void {
  for (const path of cgroup.paths) make(path);
}

function make(path: string): void {
  for (;;) {
    if (hasParent(path)) mkdirSync(dirname(path), { recursive: true });
    try {
      mkdirSync(path);
      return;
    } catch (thrown) {
      // Whoever takes away the last other group takes away the parent.
      if (!hasParent(path) || (thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
    }
  }
}

const hasParent = (path: string): boolean => basename(dirname(path)) === PARENT;

/**
 * Moves a process, from libuv's pool: the kernel may take 10 ms and more for it (an RCU grace period), in which the calling
 * thread goes on, even when it does not come to its event loop. What the process has made before stays where it is.
 */
export async function moveSoon(pid: number, { paths }: Pick<Cgroup, 'paths'>): Promise<void> {
  const results = await Promise.allSettled(paths.map((path) => writeSoon(procsFile(path), String(pid))));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** One job for the pool, not three (open, write, close), between which the event loop would have to turn. */
async function writeSoon(path: string, text: string): Promise<void> {
  const fd = openSync(path, 'w');
  try {
    await new Promise<void>((resolve, reject) => {
      writeToFd(fd, text, (error) => (error === null ? resolve() : reject(error)));
    });
  } finally {
    closeSync(fd);
  }
}

const procsFile = (path: string): string => join(path, 'cgroup.procs');

/** PIDs in the group, as this process sees them; empty when there is no such group. */
export function cgroupProcesses(cgroup: Cgroup): number[] {
  const pids = cgroup.paths.flatMap((path) => {
    try {
      return readFileSync(procsFile(path), 'latin1').split('\n').filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
  return [...new Set(pids)];
}

/** Lets a frozen group run, so that its processes can be ended: a frozen one does not even die (version 1). */
export function thawCgroup({ freezer }: Cgroup): void {
  try {
    if (freezer.version === 1) writeFileSync(join(freezer.path, 'freezer.state'), 'THAWED');
    else writeFileSync(join(freezer.path, 'cgroup.freeze'), '0');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}

/**
 * Removes the group, waiting up to `timeoutMs` for its last process to be gone. A group that is not there is fine.
 * @throws Error EBUSY when processes are left in it.
 */
export async function removeCgroup(cgroup: Cgroup, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (const path of cgroup.paths) {
    while (!tryRemove(path, performance.now() > deadline)) await sleep(REMOVE_RETRY_MS);
    // Of no use to anybody where this was the last; else it is busy.
    if (hasParent(path)) tryRemove(dirname(path), false);
  }
}

function tryRemove(path: string, lastTry: boolean): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code === 'EBUSY' && !lastTry) return false;
    throw thrown;
  }
}
