import { writeFileSync } from 'node:fs';

/** proc_pid_oom_score_adj(5): the highest. */
const FIRST = '1000';

/** Where memory is short, in its control group or on the machine, the kernel ends this process before any other. */
export function endFirstForWantOfMemory(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, FIRST);
  } catch {
    // It has ended.
  }
}
