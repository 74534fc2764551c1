/** CPUs that some processes have to themselves: control groups of the controller `cpuset`, version 1. cpuset(7) */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ownGroup } from '../../src/linux/cgroup-moves.ts';

/** The group that this process is in. */
function ownDirectory(): string {
  const memberships = readFileSync('/proc/self/cgroup', 'latin1').split('\n');
  const own = memberships.filter((line) => line.split(':')[1]?.split(',').includes('cpuset')).join('\n');
  const directory = ownGroup(readFileSync('/proc/self/mountinfo', 'latin1'), own);
  if (directory === undefined) {
    throw new Error('needs the controller cpuset of control groups, version 1: mount it, or leave this section out');
  }
  return directory;
}

export class Cpuset implements Disposable {
  readonly #above: string;
  readonly #path: string;

  /** A group below the one that this process is in. The caller disposes of it. @param cpus as `0` or `0-2` */
  constructor(name: string, cpus: string) {
    this.#above = ownDirectory();
    this.#path = join(this.#above, name);
    mkdirSync(this.#path);
    writeFileSync(join(this.#path, 'cpuset.cpus'), cpus);
    writeFileSync(join(this.#path, 'cpuset.mems'), readFileSync(join(this.#above, 'cpuset.mems'), 'latin1'));
  }

  /** All threads of a process, and what it starts from now on, run on these CPUs alone. */
  hold(pid: number): void {
    writeFileSync(join(this.#path, 'cgroup.procs'), `${pid}`);
  }

  /** Whoever is still in it may run everywhere again. */
  [Symbol.dispose](): void {
    for (const pid of readFileSync(join(this.#path, 'cgroup.procs'), 'latin1').split('\n').filter(Boolean)) {
      writeFileSync(join(this.#above, 'cgroup.procs'), pid);
    }
    rmdirSync(this.#path);
  }
}
