/** Waiting for what other CPUs are in the middle of. */
import { getAffinity, setAffinity, singleCpu } from './scheduling.ts';

/**
 * Has the calling thread run on every CPU that it may run on, one after another. The kernel handles a packet with
 * preemption off (a softirq, or a system call between local_bh_disable and local_bh_enable), so that when this returns,
 * none is half way that was there when it was called. The thread's affinity is put back.
 */
export function visitEveryCpu(): void {
  const affinity = getAffinity(0);
  try {
    for (let cpu = 0; cpu < affinity.length * 8; cpu++)
      if (((affinity[cpu >> 3] ?? 0) >> (cpu & 7)) & 1) setAffinity(0, singleCpu(cpu));
  } finally {
    setAffinity(0, affinity);
  }
}
