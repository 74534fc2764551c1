/**
 * Moving processes between cgroups takes its time: who moves one waits until every CPU has seen that somebody does (an RCU
 * grace period, 10 ms and more; kernel/rcu/sync.c), because processes everywhere begin and end without a lock otherwise. Who moves
 * another soon after finds that done. So a program that is going to move one says so early, and does something else meanwhile.
 */
import { closeSync, openSync, readFileSync, write } from 'node:fs';
import { join } from 'node:path';

/**
 * Has the kernel begin to wait, by moving this process to where it is, which changes nothing. Returns at once; the kernel is
 * asked from libuv's pool. It stays prepared for about as long as it has waited; asked again meanwhile, it stays so longer.
 * Where it cannot be asked, moves take their time.
 */
export function hastenMoves(): void {
  try {
    const mountinfo = readFileSync('/proc/self/mountinfo', 'latin1');
    const group = ownGroup(mountinfo, readFileSync('/proc/self/cgroup', 'latin1'));
    if (group === undefined) return;
    const fd = openSync(join(group, 'cgroup.procs'), 'w');
    write(fd, String(process.pid), () => closeSync(fd));
  } catch {
    // Nothing was to be done but to be quicker later.
  }
}

/**
 * The directory of this process's group in some hierarchy. @returns undefined: none can be told for certain.
 *
 * @param mountinfo text of /proc/self/mountinfo. @param memberships text of /proc/self/cgroup: `8:pids:/group` a line, and
 * `0::/group` for version 2 (cgroups(7)).
 */
export function ownGroup(mountinfo: string, memberships: string): string | undefined {
  const mountPoints = new Map<string, string>();
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root, mountPoint = ''] = left.split(' ');
    const [type, , options = ''] = right.split(' ');
    // Only of a hierarchy that is mounted whole, paths are those of the mount.
    if (root !== '/') continue;
    if (type === 'cgroup2') mountPoints.set('', mountPoint);
    else if (type === 'cgroup') for (const option of options.split(',')) mountPoints.set(option, mountPoint);
  }
  for (const line of memberships.split('\n')) {
    const [, controllers = 'none', ...rest] = line.split(':');
    const mountPoint = mountPoints.get(controllers.split(',')[0]!);
    const path = rest.join(':');
    // One outside the cgroup namespace begins with /.. .
    if (mountPoint !== undefined && path.startsWith('/') && !path.startsWith('/..')) return join(mountPoint, path);
  }
  return undefined;
}
