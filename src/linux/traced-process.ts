/** A process whose threads are traced: what they share. */
import type { Agent } from './agent.ts';
import type { Errand } from './errand.ts';
import { ProcessMemory } from './memory.ts';
import { SIGNAL } from './signals.ts';

/** What the threads of one traced process share. The tracer has seized it with TRACE_OPTION.SYSGOOD. */
export class TracedProcess {
  readonly pid: number;
  /** Replaced after an execve: {@link reopen}. */
  memory: ProcessMemory;
  /** Address of a `syscall` instruction in the process, usable before there is an agent. */
  syscallSite: bigint;
  /** The signal that ends an injected call; the process must not have a handler for it, nor block it, nor wait for it. */
  doorbell: number = SIGNAL.URG;
  agent: Agent | null = null;
  /**
   * Whether a thread that goes on behind the `syscall` instruction without a stack gets a SIGSEGV, and that is the tracer's alone:
   * the process does not ignore it, and none waits.
   */
  mayFault = false;
  /** Whether a thread that is in an injected call when this program dies goes on as if nothing had been. */
  readonly outlivesTracer: boolean;
  /** The options that its threads were seized with. */
  traceOptions = 0;
  /** When its threads were last told to stop: a time of process.hrtime(). */
  interruptedAtMicros = 0;
  /** What this program does while it waits for a thread that runs injected calls. */
  errand: Errand<unknown> | null = null;
  /** A stop signal came during an injected call; the tracer sends it again when it lets go. */
  stopRequested = false;

  constructor(pid: number, syscallSite: bigint, outlivesTracer = false) {
    this.pid = pid;
    this.memory = new ProcessMemory(pid);
    this.syscallSite = syscallSite;
    this.outlivesTracer = outlivesTracer;
  }

  /** After an execve: the old address space, and the agent in it, are gone. */
  reopen(syscallSite: bigint): void {
    this.memory.close();
    this.memory = new ProcessMemory(this.pid);
    this.syscallSite = syscallSite;
    this.agent = null;
  }

  close(): void {
    this.memory.close();
  }
}
