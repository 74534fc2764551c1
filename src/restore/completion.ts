/** The last calls that are injected into a process that is being built: those that need its memory, or leave it fewer rights. */
import type { ProcessImage } from '../image/types.ts';
import type { KernelFacts } from '../linux/kernel-facts.ts';
import * as ptrace from '../linux/ptrace.ts';
import { TRACE_OPTION } from '../linux/ptrace.ts';
import { lockCalls } from './address-space.ts';
import { filterCalls } from './filters.ts';
import { BUILDING } from './hatch.ts';
import { applyLimits, completionCalls, dumpableCall, raiseLockLimit } from './process.ts';
import { completeThread, NO_EXTRA_CALLS, type RestoringThread, schedule } from './threads.ts';

/**
 * Afterwards only the registers are missing, and nothing of the engine's is left but its agent.
 *
 * @param threads the first one of the process first.
 * @param filters seccomp filters that the process has not got yet. It is ended by its own first call when they are in force:
 *   the engine's calls are excepted (PTRACE_O_SUSPEND_SECCOMP).
 */
export function completeProcess(
  threads: readonly RestoringThread[],
  image: ProcessImage,
  filters: readonly Uint8Array[],
  facts: KernelFacts,
): void {
  const [main, ...others] = threads;
  const { thread } = main!;
  const locks = lockCalls(image.memory.areas);
  if (locks.length > 0) {
    raiseLockLimit(thread, image);
    thread.batch(locks);
  }
  applyLimits(thread, image);
  if (filters.length > 0)
    for (const each of threads) ptrace.setOptions(each.thread.tid, BUILDING | TRACE_OPTION.SUSPEND_SECCOMP);
  for (const other of others) completeThread(other, image.process, NO_EXTRA_CALLS);
  completeThread(main!, image.process, {
    before: [...completionCalls(thread, image, facts.timerRestoreIds), ...filterCalls(thread, filters)],
    after: [dumpableCall(image)],
  });
  for (const each of threads) schedule(each, facts.scheduling.cpus);
}
