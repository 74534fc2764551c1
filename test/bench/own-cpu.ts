/**
 * The lab where what is measured has a CPU that nobody else takes. In a lab of two CPUs five programs share them, and most of
 * what the other sections find is that sharing: here the server at the source and who asks it have the last CPU, and daemons,
 * sdn, copy and engine the others.
 */
import { defined } from '../../src/base/assert.ts';
import { cpusOf, getAffinity } from '../../src/linux/scheduling.ts';
import { Cpuset } from '../support/cpuset.ts';
import { find } from '../support/lab.ts';
import type { Manager } from '../support/manager.ts';
import { inLab } from './lab.ts';

export type OwnCpu = {
  /** To be told again after every move: what has arrived is where the daemon of its machine is. */
  give(sandbox: string): Promise<void>;
  /** What is started meanwhile runs there. */
  starting<T>(start: () => T): T;
};

/** Brings the lab up, and takes it away whatever happens. @throws Error without a second CPU, or the controller cpuset */
export async function withOwnCpu<T>(use: (manager: Manager, own: OwnCpu) => Promise<T>): Promise<T> {
  const cpus = cpusOf(getAffinity(0));
  const last = cpus.pop();
  if (last === undefined || cpus.length === 0) throw new Error('needs two CPUs');
  using own = new Cpuset('comicran-bench-own', `${last}`);
  using others = new Cpuset('comicran-bench-others', cpus.join());
  others.hold(process.pid);
  return await inLab((manager) =>
    use(manager, {
      async give(sandbox) {
        own.hold(defined((await find(sandbox))?.pid, `the process of ${sandbox}`));
      },
      starting(start) {
        own.hold(process.pid);
        try {
          return start();
        } finally {
          others.hold(process.pid);
        }
      },
    }),
  );
}
