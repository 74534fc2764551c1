/**
 * A process that sleeps, as the mould of others: it is stopped for a moment, makes system calls that this program injects, and
 * its clones can be given namespaces, credentials and in the end another program before they have run a single instruction.
 * So nothing but this program is needed to make a process that no library call can make. All calls are synchronous.
 */
import { CLONE_ARGUMENTS_BYTES, encodeCloneArguments, expectStop } from './clone-arguments.ts';
import { CLONE } from './clone-flags.ts';
import { parseMaps, readProc } from './procfs.ts';
import * as ptrace from './ptrace.ts';
import { TRACE_OPTION } from './ptrace.ts';
import { TracedProcess, Tracee } from './tracee.ts';
import { readVdso } from './vdso.ts';
import { waitThread } from './wait.ts';

/** With EXITKILL: what is half made ends with its maker. A change of ids takes a death signal away, and a clone begins without one. */
const OPTIONS =
  TRACE_OPTION.SYSGOOD | TRACE_OPTION.CLONE | TRACE_OPTION.FORK | TRACE_OPTION.EXEC | TRACE_OPTION.EXITKILL;
/** Below the stack pointer, clear of the red zone of the ABI. */
const STACK_DISTANCE = 4096n;
/** `syscall` is two bytes long. */
const SYSCALL_BYTES = 2n;

/** A process with one thread that this program's thread has stopped. */
export class StoppedProcess {
  readonly thread: Tracee;
  #isTraced = true;

  private constructor(thread: Tracee) {
    this.thread = thread;
  }

  /** Stops a process. Its system call goes on when it is released. */
  static stop(pid: number): StoppedProcess {
    ptrace.seize(pid, OPTIONS);
    ptrace.interrupt(pid);
    expectStop(pid, waitThread(pid));
    const process = new TracedProcess(pid, 0n);
    process.syscallSite = readVdso(parseMaps(readProc(pid, 'maps')), process.memory).syscallSite;
    return new StoppedProcess(new Tracee(process, pid));
  }

  get pid(): number {
    return this.thread.tid;
  }

  /**
   * A clone of it: a child of its parent (CLONE_PARENT), asleep in the same system call.
   *
   * @param namespaces flags of clone3(2). @param tid in its PID namespace; null: the next one.
   * @returns the clone, stopped before its first instruction.
   */
  clone(what: string, namespaces: number, tid: number | null): StoppedProcess {
    const { thread } = this;
    const at = (thread.registers.get('rsp') - STACK_DISTANCE) & ~15n;
    thread.process.memory.write(at, encodeCloneArguments(at, CLONE.PARENT | namespaces, tid));
    const pid = thread.clone(what, at, CLONE_ARGUMENTS_BYTES);
    expectStop(pid, waitThread(pid));
    ptrace.setOptions(pid, OPTIONS);
    const child = new Tracee(new TracedProcess(pid, thread.process.syscallSite), pid);
    // It has the registers of the injected call. It is to make the call that the original waits in.
    child.registers.copyFrom(thread.registers);
    const call = thread.registers.getSigned('orig_rax');
    if (call >= 0n) {
      const instruction = thread.registers.get('rip') - SYSCALL_BYTES;
      child.registers.set('rax', call).set('orig_rax', -1n).set('rip', instruction);
    }
    child.restore();
    child.signalMask = thread.signalMask;
    return new StoppedProcess(child);
  }

  /** Lets it sleep on. Idempotent; does nothing to a process that has been killed. */
  release(): void {
    if (!this.#isTraced) return;
    this.#isTraced = false;
    this.thread.process.close();
    try {
      ptrace.detach(this.pid);
    } catch {
      // It has ended.
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
