import { setTimeout as sleep } from 'node:timers/promises';
import { type Cgroup, cgroupProcesses } from '../linux/cgroup.ts';
import { signalProcess } from './child.ts';

const TIMEOUT_MS = 5_000;
const POLL_MS = 2;

/**
 * Ends every process of a group but some. @param kept PIDs as this program sees them.
 * @throws Error when one does not end
 */
export async function endOthers(cgroup: Cgroup, kept: ReadonlySet<number>): Promise<void> {
  const untilMs = performance.now() + TIMEOUT_MS;
  for (;;) {
    const others = cgroupProcesses(cgroup).filter((pid) => !kept.has(pid));
    if (others.length === 0) return;
    if (performance.now() > untilMs) throw new Error(`processes of the run before do not end: ${others.join(' ')}`);
    for (const pid of others) signalProcess(pid, 'SIGKILL');
    await sleep(POLL_MS);
  }
}
