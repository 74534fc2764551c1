/** Ending a process that runs here and must not: a silent copy. */
import { sendSignal } from '../../linux/pidfd.ts';
import { identifyProcess, isAlive } from '../../linux/process-identity.ts';
import { SIGNAL } from '../../linux/signals.ts';

/** Resolves when it is gone. Does nothing where it has ended. */
export async function endProcess(pid: number): Promise<void> {
  const identity = identifyProcess(pid);
  if (identity === undefined) return;
  sendSignal(pid, SIGNAL.KILL);
  while (isAlive(identity)) await new Promise((resolve) => setTimeout(resolve, 1));
}
