/** A new process out of the hatchery: a child of the hatchery's parent, with a chosen PID. */
import { ComicranError } from '../base/errors.ts';
import { CLONE_ARGUMENTS_BYTES, encodeCloneArguments, expectStop } from '../linux/clone-arguments.ts';
import { CLONE } from '../linux/clone-flags.ts';
import { EEXIST, KernelError } from '../linux/errno.ts';
import { openPidfd } from '../linux/pidfd.ts';
import { parseMaps, readProc, readStatus } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import { TRACE_OPTION } from '../linux/ptrace.ts';
import { sleepMicros } from '../linux/sleep.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { type ClockOffsets, writeClockOffsets } from '../linux/time-namespace.ts';
import { TracedProcess, Tracee } from '../linux/tracee.ts';
import { readVdso } from '../linux/vdso.ts';
import { waitThread } from '../linux/wait.ts';

const CLONE_TRIES = 300;
const CLONE_PAUSE_MICROS = 3000;
/** Below the stack pointer, clear of the red zone of the ABI. */
const STACK_DISTANCE = 4096n;

/** What the threads of a process that is being built are traced with: they end with this program. */
export const BUILDING = TRACE_OPTION.SYSGOOD | TRACE_OPTION.CLONE | TRACE_OPTION.EXEC | TRACE_OPTION.EXITKILL;

/**
 * Makes the process. The hatchery goes on as it was.
 *
 * @param pid what the new process is called inside the hatchery's PID namespace.
 * @param clocks what its clocks are ahead of the machine's; null: they are those of the hatchery.
 * @returns a copy of the hatchery, stopped before its first instruction, that ends when this program does; the caller closes
 *   the process and the pidfd.
 * @throws ComicranError migration.refused: the PID is taken.
 */
export function hatch(
  hatcheryPid: number,
  pid: number,
  clocks: ClockOffsets | null,
): { process: TracedProcess; pidfd: number; thread: Tracee } {
  ptrace.seize(hatcheryPid, TRACE_OPTION.SYSGOOD | TRACE_OPTION.CLONE | TRACE_OPTION.FORK);
  ptrace.interrupt(hatcheryPid);
  expectStop(hatcheryPid, waitThread(hatcheryPid));
  const hatchery = new TracedProcess(hatcheryPid, 0n);
  let child: number;
  try {
    const vdso = readVdso(parseMaps(readProc(hatcheryPid, 'maps')), hatchery.memory);
    hatchery.syscallSite = vdso.syscallSite;
    const thread = new Tracee(hatchery, hatcheryPid);
    if (clocks !== null) giveClocks(thread, clocks);
    const at = (thread.registers.get('rsp') - STACK_DISTANCE) & ~15n;
    hatchery.memory.write(at, encodeCloneArguments(at, CLONE.PARENT, pid));
    child = cloneWithPatience(thread, pid, at);
  } catch (cause) {
    if (!isTaken(cause)) throw cause;
    throw new ComicranError('migration.refused', `process id ${pid} is taken in the sandbox of the destination`, {
      cause,
      hint: `The hatchery itself has ${readStatus(hatcheryPid).innermost('NSpid')}: it must have one that no process of the image has.`,
    });
  } finally {
    hatchery.close();
    ptrace.detach(hatcheryPid);
  }
  expectStop(child, waitThread(child));
  ptrace.setOptions(child, BUILDING);
  const process = new TracedProcess(child, hatchery.syscallSite);
  return { process, pidfd: openPidfd(child), thread: new Tracee(process, child) };
}

/**
 * A process that has just ended keeps its PID for a little longer than it can be seen, on a busy machine for milliseconds; one
 * that was built of a sketch and did not fit keeps it for half a second, until its jailor has reaped it (reapStrangers).
 */
function cloneWithPatience(thread: Tracee, pid: number, at: bigint): number {
  for (let tries = 1; ; tries++) {
    try {
      return thread.clone(`make process ${pid}`, at, CLONE_ARGUMENTS_BYTES);
    } catch (error) {
      if (!isTaken(error) || tries === CLONE_TRIES) throw error;
      sleepMicros(CLONE_PAUSE_MICROS);
    }
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof KernelError && error.errno === EEXIST;
}

/** Puts the hatchery's next child into a time namespace of its own. */
function giveClocks(hatchery: Tracee, clocks: ClockOffsets): void {
  try {
    hatchery.call('make a time namespace', SYS.unshare, CLONE.NEWTIME);
    writeClockOffsets(hatchery.tid, clocks);
  } catch (cause) {
    throw new ComicranError('needs.kernel', "the process's clocks cannot go on from where they stand", {
      cause,
      hint: 'The machines have not been up for the same time; that needs time namespaces (Linux 5.6, CONFIG_TIME_NS).',
    });
  }
}
