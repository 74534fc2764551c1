/** Ending a process that must not run here any more, or never should have: a source's, a silent copy. */
import { ComicranError } from '../../base/errors.ts';
import { ESRCH, KernelError } from '../../linux/errno.ts';
import { sendSignal } from '../../linux/pidfd.ts';
import { identifyProcess, isAlive } from '../../linux/process-identity.ts';
import { SIGNAL } from '../../linux/signals.ts';

const GONE_TIMEOUT_MS = 5_000;
const POLL_MS = 1;

/**
 * Resolves when it has ended, whether its parent has looked at it or not. Does nothing where there is none.
 * @param thaw takes the process out of the freezer: a frozen one does not even die
 * @throws ComicranError deadline: it waits in the kernel for something that cannot be interrupted, and may run on for that
 */
export async function endProcess(pid: number, thaw: () => void = () => undefined): Promise<void> {
  const identity = identifyProcess(pid);
  if (identity === undefined || !isAlive(identity)) return;
  try {
    sendSignal(pid, SIGNAL.KILL);
  } catch (error) {
    if (!(error instanceof KernelError) || error.errno !== ESRCH) throw error;
  }
  thaw();
  const untilMs = performance.now() + GONE_TIMEOUT_MS;
  while (isAlive(identity)) {
    if (performance.now() > untilMs)
      throw new ComicranError('deadline', `process ${pid} was told to end ${GONE_TIMEOUT_MS} ms ago and has not`, {
        hint: 'It waits in the kernel for something that cannot be interrupted, a disk for example: look at /proc/PID/stack.',
      });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
