/**
 * Traced processes and their stopped threads, with system calls injected into them.
 *
 * A stopped thread has its own registers and signal mask at every moment except inside one of these calls, which put them
 * back also when they throw. So letting go of it between two calls lets it run on as if nothing had been.
 */
import { assert, defined } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { AGENT_BYTES, Agent, CALLS } from './agent.ts';
import { waitBusily } from './errand.ts';
import { KernelError } from './errno.ts';
import * as ptrace from './ptrace.ts';
import { REGISTER_SET, TRACE_EVENT } from './ptrace.ts';
import { type RegisterName, Registers } from './registers.ts';
import { checkResult, checkResults, type RemoteArgument, type RemoteCall } from './remote-call.ts';
import { encodeSignalFrame } from './signal-frame.ts';
import { SIGNAL } from './signals.ts';
import { SYS } from './syscall-numbers.ts';
import type { TracedProcess } from './traced-process.ts';
import type { WaitStatus } from './wait.ts';

export type { RemoteArgument, RemoteCall } from './remote-call.ts';
export { TracedProcess } from './traced-process.ts';

const ARGUMENT_REGISTERS: readonly RegisterName[] = ['rdi', 'rsi', 'rdx', 'r10', 'r8', 'r9'];
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
const SEGV = 1n << BigInt(SIGNAL.SEGV - 1);
/** In the first page, where nothing is. */
const NOT_MAPPED = 8;
const SYSCALL_STOP = SIGNAL.TRAP | 0x80;
const PROT_READ_WRITE_EXEC = 7;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FIXED_NOREPLACE = 0x100000;

/** The extended state with every component of today's CPUs is 11,008 bytes. */
const extendedState = Buffer.alloc(1 << 16);

/** A thread in a ptrace stop. */
export class Tracee {
  readonly tid: number;
  readonly process: TracedProcess;
  /** The thread's own registers. Change them here and call {@link restore} to change the thread. */
  readonly registers = new Registers();
  readonly #work = new Registers();
  #mask = 0n;

  constructor(process: TracedProcess, tid: number) {
    this.process = process;
    this.tid = tid;
    this.refresh();
  }

  /** Forgets a frame that was written for other registers. */
  #changed(): void {
    const { agent } = this.process;
    if (agent?.frameOwner === this) agent.frameOwner = null;
  }

  /** Reads registers and signal mask again, after the thread has run and stopped anew. */
  refresh(): void {
    ptrace.getRegisters(this.tid, this.registers);
    this.#mask = ptrace.getSignalMask(this.tid);
    this.#changed();
  }

  /** Bit n-1 for signal n. */
  get signalMask(): bigint {
    return this.#mask;
  }

  set signalMask(mask: bigint) {
    this.#mask = mask;
    this.#changed();
    ptrace.setSignalMask(this.tid, mask);
  }

  /** Writes {@link registers} to the thread, after they were changed. */
  restore(): void {
    this.#changed();
    ptrace.setRegisters(this.tid, this.registers);
  }

  get agent(): Agent {
    return defined(this.process.agent, 'the agent');
  }

  /** Puts bytes into the agent's scratch. @returns their address in the tracee. */
  put(bytes: Uint8Array): bigint {
    return this.agent.put(bytes);
  }

  read(address: bigint, length: number): Buffer {
    return this.process.memory.read(address, length);
  }

  /** Runs a system call in the thread. @throws KernelError when it fails. */
  call(what: string, number: number, ...args: RemoteArgument[]): bigint {
    return this.#checked(what, this.tryCall(number, ...args));
  }

  /** Runs a system call in the thread. @returns its result or a negative errno. */
  tryCall(number: number, ...args: RemoteArgument[]): bigint {
    if (this.process.agent === null) return this.callAtSite(number, ...args);
    this.#prepare(number, args, this.agent.callAddress);
    return this.#injected(() => {
      this.runToDoorbell();
      return this.#work.getSigned('rbp');
    });
  }

  /**
   * Runs calls one after the other in a single stop, all of them also when one fails.
   *
   * @returns their results. @throws KernelError for the first that failed and must not.
   */
  batch(calls: readonly RemoteCall[]): bigint[] {
    const results: bigint[] = [];
    for (let start = 0; start < calls.length; start += CALLS)
      results.push(...this.#batchPart(calls.slice(start, start + CALLS)));
    return results;
  }

  /**
   * Runs code of the agent in the thread. Registers and signal mask are put back, whatever happens.
   *
   * @param words for registers. @param run lets the thread go to the doorbell. @returns rbp, where the code left its result.
   */
  runAgent(address: bigint, words: Partial<Record<RegisterName, bigint | number>>, run: () => void): bigint {
    this.#work.copyFrom(this.registers).set('rip', address);
    for (const [name, word] of Object.entries(words)) this.#work.set(name as RegisterName, word);
    this.#finishPrepare();
    return this.#injected(() => {
      run();
      return this.#work.getSigned('rbp');
    });
  }

  /**
   * Makes the thread ready to run code of the agent, for several threads to run it at once: let each run
   * (ptrace.resume), {@link awaitDoorbell} of each, {@link putBack} each in any case.
   *
   * @param words for registers; rsp is where the frame with the thread's own state stands, see linux/agent.ts.
   */
  begin(address: bigint, words: Partial<Record<RegisterName, bigint | number>>): void {
    this.#work.copyFrom(this.registers).set('rip', address).set('orig_rax', -1n).set('r15', this.process.doorbell);
    for (const [name, word] of Object.entries(words)) this.#work.set(name as RegisterName, word);
    ptrace.setRegisters(this.tid, this.#work);
    ptrace.setSignalMask(this.tid, ALL_SIGNALS & ~this.#bell);
  }

  /** Waits until the agent has rung in a thread that has been let run. */
  awaitDoorbell(): void {
    const event = this.runToEvent(true);
    if (event !== 0) this.#unexpected({ kind: 'stopped', signal: SIGNAL.TRAP, event });
  }

  /** Puts registers and signal mask of the thread back. */
  putBack(): void {
    ptrace.setRegisters(this.tid, this.registers);
    ptrace.setSignalMask(this.tid, this.#mask);
  }

  get #bell(): bigint {
    return 1n << BigInt(this.process.doorbell - 1);
  }

  /**
   * A clone3 in the thread, which the tracer has seized with TRACE_OPTION.CLONE and FORK.
   *
   * @returns the new thread's id in the tracer's PID namespace; it is traced, and stops before its first instruction.
   */
  clone(what: string, cloneArguments: bigint, length: number): number {
    const { agent } = this.process;
    this.#prepare(SYS.clone3, [cloneArguments, length], agent?.callAddress ?? this.process.syscallSite);
    return this.#injected(() => {
      if (agent === null) this.#toSyscallStop();
      const event = agent === null ? this.#next(() => ptrace.resumeToSyscall(this.tid)) : this.#next();
      if (event.kind !== 'stopped' || event.event === 0) {
        // No event: the call has failed, and the thread is already past it.
        ptrace.getRegisters(this.tid, this.#work);
        throw new KernelError(what, Number(-this.#work.getSigned(agent === null ? 'rax' : 'rbp')));
      }
      const child = ptrace.eventMessage(this.tid);
      if (agent === null) this.#toSyscallStop();
      else this.runToDoorbell();
      return child;
    });
  }

  /**
   * An execve in the thread, which the tracer has seized with TRACE_OPTION.EXEC. On success the thread stands at the first
   * instruction of the new program; call {@link TracedProcess.reopen} and {@link refresh} next. All signals stay blocked.
   *
   * @throws KernelError when it fails; the thread has its own registers then.
   */
  exec(what: string, path: bigint, argv: bigint, environment: bigint): void {
    this.#prepare(SYS.execve, [path, argv, environment], this.process.syscallSite);
    ptrace.setRegisters(this.tid, this.#work);
    ptrace.setSignalMask(this.tid, ALL_SIGNALS);
    this.#toSyscallStop();
    const event = this.#next(() => ptrace.resumeToSyscall(this.tid));
    if (event.kind === 'stopped' && event.event === TRACE_EVENT.EXEC) {
      // The stop is inside the system call: rax is written at its exit, one stop later.
      this.#toSyscallStop();
      return;
    }
    ptrace.getRegisters(this.tid, this.#work);
    const result = this.#work.getSigned('rax');
    this.restore();
    ptrace.setSignalMask(this.tid, this.#mask);
    throw new KernelError(what, Number(-result));
  }

  /** A system call over a `syscall` instruction of the process itself: one or two stops, no agent needed. */
  callAtSite(number: number, ...args: RemoteArgument[]): bigint {
    const { syscallSite, mayFault } = this.process;
    this.#prepare(number, args, syscallSite);
    // Not by a step: what the kernel keeps of that outlives the tracer, and then kills the thread.
    if (mayFault) this.#work.set('rsp', NOT_MAPPED).set('rbp', NOT_MAPPED);
    const run = (): bigint => {
      if (mayFault) this.#toFault();
      else for (const _ of ['entry', 'exit']) this.#toSyscallStop();
      ptrace.getRegisters(this.tid, this.#work);
      return this.#work.getSigned('rax');
    };
    return this.#injected(run, mayFault ? SEGV : 0n);
  }

  /**
   * Makes the agent of the process.
   *
   * @param at where; absent: where the kernel likes. @throws KernelError EEXIST when something is there.
   */
  installAgent(size: bigint = AGENT_BYTES, at = 0n): Agent {
    assert(this.process.agent === null, 'a second agent');
    const flags = MAP_PRIVATE_ANONYMOUS | (at === 0n ? 0 : MAP_FIXED_NOREPLACE);
    const base = this.callAtSite(SYS.mmap, at, size, PROT_READ_WRITE_EXEC, flags, -1, 0);
    const agent = Agent.install(this.process.memory, this.#checked('map the agent', base), size);
    this.process.agent = agent;
    return agent;
  }

  removeAgent(): void {
    const { base, size } = this.agent;
    this.process.agent = null;
    this.#checked('unmap the agent', this.callAtSite(SYS.munmap, base, size));
  }

  #checked(what: string, result: bigint): bigint {
    return checkResult(this.process.pid, what, result);
  }

  #prepare(number: number, args: readonly RemoteArgument[], address: bigint): void {
    const work = this.#work.copyFrom(this.registers).set('rax', number).set('rip', address);
    ARGUMENT_REGISTERS.forEach((name, index) => {
      work.set(name, args[index] ?? 0);
    });
    this.#finishPrepare();
  }

  #finishPrepare(): void {
    // -1: not in a system call. Otherwise the kernel would take the injected call for the thread's own and restart it.
    this.#work.set('orig_rax', -1n).set('r15', this.process.doorbell);
    const { agent, outlivesTracer } = this.process;
    if (agent === null) return;
    this.#work.set('rsp', agent.frameAddress);
    if (!outlivesTracer || agent.frameOwner === this) return;
    const length = ptrace.getRegisterSet(this.tid, REGISTER_SET.X86_XSTATE, extendedState);
    agent.frameOwner = null;
    const state = extendedState.subarray(0, length);
    this.process.memory.write(
      agent.frameAddress,
      encodeSignalFrame(this.registers, state, this.#mask, agent.frameAddress),
    );
    agent.frameOwner = this;
  }

  #batchPart(calls: readonly RemoteCall[]): readonly bigint[] {
    const { agent } = this;
    agent.writeCalls(calls);
    this.#work.copyFrom(this.registers).set('rip', agent.batchAddress);
    this.#work.set('rbx', agent.tableAddress).set('r12', calls.length);
    this.#finishPrepare();
    this.#injected(() => this.runToDoorbell());
    return checkResults(this.process.pid, calls, agent.readResults(calls.length));
  }

  /**
   * Runs the thread with the prepared registers; puts its own ones and its signal mask back, whatever happens.
   *
   * @param unblocked signals that may come besides the doorbell.
   */
  #injected<T>(run: () => T, unblocked = 0n): T {
    ptrace.setRegisters(this.tid, this.#work);
    ptrace.setSignalMask(this.tid, ALL_SIGNALS & ~this.#bell & ~unblocked);
    let result: T;
    try {
      result = run();
    } catch (error) {
      try {
        this.putBack();
      } catch {
        // The thread has gone, which is what the first error says.
      }
      throw error;
    }
    this.putBack();
    return result;
  }

  /** Lets the thread run until the agent has rung. */
  runToDoorbell(): void {
    const event = this.runToEvent();
    if (event !== 0) this.#unexpected({ kind: 'stopped', signal: SIGNAL.TRAP, event });
  }

  /** Lets the thread run until the agent has rung, or up to an event. @returns which event; 0: it has rung. */
  runToEvent(isRunning = false): number {
    for (;;) {
      const status = this.#next(undefined, isRunning);
      isRunning = false;
      if (status.event !== 0) return status.event;
      if (status.signal !== this.process.doorbell) this.#unexpected(status);
      ptrace.getRegisters(this.tid, this.#work);
      // If not, it is somebody else's: the process ignores it, and so it may be lost.
      if (this.#work.get('rip') === this.agent.endAddress) return 0;
    }
  }

  #toFault(): void {
    const status = this.#next();
    if (status.event !== 0 || status.signal !== SIGNAL.SEGV) this.#unexpected(status);
  }

  #toSyscallStop(): void {
    const status = this.#next(() => ptrace.resumeToSyscall(this.tid));
    if (status.kind !== 'stopped' || status.event !== 0 || status.signal !== SYSCALL_STOP) this.#unexpected(status);
  }

  /** Lets the thread run and waits for its next stop. Stop signals from outside are noted, and kept from it. */
  #next(run: () => void = () => ptrace.resume(this.tid), isRunning = false): Extract<WaitStatus, { kind: 'stopped' }> {
    for (;;) {
      if (!isRunning) run();
      isRunning = false;
      const status = waitBusily(this.tid, this.process.errand);
      if (status.kind !== 'stopped')
        throw new ComicranError('process.gone', `thread ${this.tid} ended while it was traced`);
      if (status.event === TRACE_EVENT.STOP) continue;
      if (status.event !== 0 || status.signal !== SIGNAL.STOP) return status;
      this.process.stopRequested = true;
    }
  }

  #unexpected(status: WaitStatus): never {
    ptrace.getRegisters(this.tid, this.#work);
    throw new ComicranError(
      'process.trace',
      `thread ${this.tid} stopped in an unforeseen way: ${JSON.stringify(status)} at 0x${this.#work.get('rip').toString(16)}`,
    );
  }
}
