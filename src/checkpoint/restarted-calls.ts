/** Which call a thread is in that was cut short before and goes on under the number of restart_syscall. */
import { listThreads, readProc } from '../linux/procfs.ts';
import type { Registers } from '../linux/registers.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { Tracee } from '../linux/tracee.ts';
import { guessRestartedCall, isRestartedCall } from './restart.ts';

/** Clocks are small numbers, addresses are not. */
const MOST_CLOCKS = 16n;

export class RestartedCalls {
  readonly #pid: number;
  /** Kernel stacks of threads that were in restart_syscall, by TID. */
  readonly #stacks = new Map<number, string>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** To be called before the process is stopped: a stopped thread's stack tells nothing any more. */
  prepare(): void {
    this.#stacks.clear();
    for (const tid of listThreads(this.#pid)) {
      try {
        if (readProc(this.#pid, `task/${tid}/syscall`).startsWith(`${SYS.restart_syscall} `))
          this.#stacks.set(tid, readProc(this.#pid, `task/${tid}/stack`));
      } catch {
        // The thread has ended, or the kernel does not tell.
      }
    }
  }

  /** @returns null where the registers themselves tell, and where nothing does. */
  nameOf(thread: Tracee, registers: Registers): number | null {
    if (!isRestartedCall(registers)) return null;
    const guess = guessRestartedCall(thread.read(registers.get('rip') - 7n, 7));
    if (guess !== null) return guess;
    const stack = this.#stacks.get(thread.tid);
    return stack === undefined ? null : callOfStack(stack, registers);
  }
}

function callOfStack(stack: string, registers: Registers): number {
  if (stack.includes('futex')) return SYS.futex;
  if (stack.includes('poll')) return SYS.poll;
  return registers.get('rdi') < MOST_CLOCKS ? SYS.clock_nanosleep : SYS.nanosleep;
}
