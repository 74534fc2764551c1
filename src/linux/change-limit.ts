import { EPERM, KernelError } from './errno.ts';
import { encodeLimit, type ResourceLimit, setLimit } from './scheduling.ts';
import { SYS } from './syscall-numbers.ts';
import type { Tracee } from './tracee.ts';

/**
 * Sets a limit of a stopped process, prlimit(2). From outside, where a hard limit can be raised, too. A program without
 * CAP_SYS_RESOURCE may not do that to a process of another user: the process does it itself then, which takes no capability
 * as long as no hard limit is raised.
 *
 * @throws KernelError EPERM: a hard limit cannot be raised.
 */
export function changeLimit(thread: Tracee, resource: number, limit: ResourceLimit): void {
  try {
    setLimit(thread.process.pid, resource, limit);
  } catch (thrown) {
    if (!(thrown instanceof KernelError) || thrown.errno !== EPERM) throw thrown;
    const { agent } = thread;
    const mark = agent.mark();
    thread.call(`set limit ${resource}`, SYS.prlimit64, 0, resource, thread.put(encodeLimit(limit)), 0);
    agent.release(mark);
  }
}
