/**
 * Forking a traced process: a copy of its memory that stands still, while the process itself goes on.
 *
 *     source ──vfork──► between ──clone──► clone
 *        │                 │ ends            │ stopped: never runs a single instruction of the program
 *        ◄──── waits ──────┘                 │ its parent is PID 1 of the namespace
 *
 * The process between the two shares the memory of the source and lives for some microseconds. Because of it the clone is
 * no child of the source: no SIGCHLD, nothing for its wait(2) to find, no zombie when the clone ends. (A source that is a
 * subreaper must not be one while it forks.)
 *
 * The clone is traced from its first moment. Until it has TRACE_OPTION.EXITKILL the death of the tracer lets it run, and
 * then the code of the agent ends it. It shares the descriptor table of the source until {@link closeDescriptors}: copies
 * of descriptors would keep sockets and pipes open that the source closes.
 */
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';
import { Agent, CALLS } from './agent.ts';
import { type Errand, waitBusily } from './errand.ts';
import { EAGAIN, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import * as ptrace from './ptrace.ts';
import { TRACE_EVENT, TRACE_OPTION } from './ptrace.ts';
import { CALL_BYTES, checkResults, type RemoteCall } from './remote-call.ts';
import { SIGNAL } from './signals.ts';
import { SYS } from './syscall-numbers.ts';
import { TracedProcess, Tracee } from './tracee.ts';
import { putBack, putBeside } from './urgency.ts';
import { reapThreads, waitThread } from './wait.ts';

const CLOSE_RANGE_UNSHARE = 2;
const LAST_DESCRIPTOR = 0xffff_ffff;

/**
 * Forks a process whose threads are all stopped, by its thread `main`; the agent must be in it.
 *
 * @param before calls to make right before the fork, in the same run. @param after right behind it, also when it fails.
 * @param errand to work at meanwhile, and later when this program waits for the thread.
 * @returns the PID of the clone, which is stopped, and the results of all calls, one behind another.
 * @throws ComicranError process.unsupported: the process may not have another process beside it. KernelError.
 */
export function forkProcess(
  main: Tracee,
  before: readonly RemoteCall[],
  after: readonly RemoteCall[],
  errand: Errand<unknown>,
): { readonly clone: number; readonly results: readonly bigint[] } {
  const { agent, process } = main;
  const calls = [...before, ...after];
  assert(calls.length <= CALLS, 'more calls around a fork than one run takes');
  ptrace.setOptions(main.tid, process.traceOptions | TRACE_OPTION.CLONE | TRACE_OPTION.VFORK);
  agent.writeCalls(calls);
  let clone: number | KernelError | null = null;
  const failures: unknown[] = [];
  const attempt = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      failures.push(error);
    }
  };
  const words = {
    rbx: agent.tableAddress,
    r12: before.length,
    r13: agent.tableAddress + BigInt(before.length * CALL_BYTES),
    r14: after.length,
  };
  try {
    const between = main.runAgent(agent.forkAddress, words, () => {
      ptrace.resume(main.tid);
      // No more of it yet: the thread may be waiting for the CPU that this one has.
      errand.step();
      if (main.runToEvent(true) === 0) return;
      const between = ptrace.eventMessage(main.tid);
      // It waits for the end of the process between, and then goes on without being told to.
      ptrace.resume(main.tid);
      attempt(() => {
        clone = makeClone(process, between, errand);
      });
      if (clone === null) killClone(between);
      main.awaitDoorbell();
    });
    if (failures.length > 0) throw failures[0];
    if (clone === null) clone = new KernelError(`fork process ${process.pid}`, Number(-between));
    if (clone instanceof KernelError) throw refusal(process.pid, clone);
    return { clone, results: checkResults(process.pid, calls, agent.readResults(calls.length)) };
  } catch (error) {
    if (typeof clone === 'number') killClone(clone);
    throw error;
  }
}

function refusal(pid: number, cause: KernelError): Error {
  if (cause.errno !== EAGAIN) return cause;
  return new ComicranError('process.unsupported', `process ${pid} may not have another process beside it`, {
    cause,
    hint: 'A snapshot needs two more processes in the sandbox for a moment, and one until the copy is there: raise its limit of processes (limits.pids) or RLIMIT_NPROC.',
  });
}

/** @param between the process in between, which is about to stop for the first time. */
function makeClone(process: TracedProcess, between: number, errand: Errand<unknown>): number | KernelError {
  const { traceOptions } = process;
  waitThread(between);
  // The copying of the address space is the longest part of it all, and this program has something to do meanwhile.
  putBeside(between);
  ptrace.resume(between);
  process.errand = errand;
  let event = waitBusily(between, errand);
  // A stop signal to the process group.
  while (event.kind === 'stopped' && event.event === 0) {
    ptrace.resume(between);
    event = waitBusily(between, errand);
  }
  if (event.kind !== 'stopped' || event.event !== TRACE_EVENT.CLONE)
    return new KernelError('fork', event.kind === 'exited' ? event.code : EAGAIN);
  const clone = ptrace.eventMessage(between);
  waitBusily(clone, errand);
  ptrace.setOptions(clone, (traceOptions & ~(TRACE_OPTION.CLONE | TRACE_OPTION.VFORK)) | TRACE_OPTION.EXITKILL);
  // It ends by itself, and the source takes note of that.
  try {
    ptrace.detach(between);
  } catch {
    // Killed by somebody, like all processes of its group. The source is waiting for it.
    reapThreads([between]);
  }
  return clone;
}

/** The clone as a process to inject calls into. The caller closes it. */
export function openClone(source: TracedProcess, agent: Agent, clone: number): Tracee {
  putBack(clone);
  const process = new TracedProcess(clone, source.syscallSite);
  process.doorbell = source.doorbell;
  process.agent = Agent.inherited(process.memory, agent);
  return new Tracee(process, clone);
}

/** Takes the clone out of the descriptor table that it shares with the source, which keeps every descriptor. */
export function closeDescriptors(clone: Tracee): void {
  clone.call('leave the descriptors', SYS.close_range, 0, LAST_DESCRIPTOR, CLOSE_RANGE_UNSHARE);
}

/** Ends a clone. Does nothing where it has ended. */
export function killClone(clone: number): void {
  // To give back much memory takes long: not before everybody else.
  putBack(clone);
  trySyscall(SYS.kill, clone, SIGNAL.KILL);
  reapThreads([clone]);
}
