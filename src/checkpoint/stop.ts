/**
 * A stop that outlives this program: SIGSTOP, confirmed for every thread, and behind it the freezer of the sandbox's
 * control group, so that nobody's SIGCONT lifts it.
 *
 *     prepare ──► (hasten) ──► stop ──► resume   it runs on and has noticed nothing
 *                                  └──► kill     it is gone
 */
import { ComicranError } from '../base/errors.ts';
import type { Cgroup } from '../linux/cgroup.ts';
import { CgroupFreezer } from '../linux/cgroup-freezer.ts';
import { continueQuietly } from '../linux/continue.ts';
import { ESRCH, KernelError } from '../linux/errno.ts';
import { signalProcess } from '../linux/pidfd.ts';
import { readStatus } from '../linux/procfs.ts';
import { SIGNAL } from '../linux/signals.ts';
import { sleepMicros } from '../linux/sleep.ts';
import { ThreadStates } from '../linux/thread-states.ts';
import { FirstPlace, type ThreadScheduling } from '../linux/urgency.ts';
import { settle } from './freeze.ts';

/** The threads may need this one's CPU to stop: it must not spin. */
const FIRST_PAUSE_MICROS = 10;
const LONGEST_PAUSE_MICROS = 50;
const DEADLINE_MICROS = 500_000;

const nowMicros = (): number => Number(process.hrtime.bigint() / 1000n);

export class SignalStop {
  readonly #pid: number;
  readonly #pidfd: number;
  readonly #states: ThreadStates;
  readonly #freezer: CgroupFreezer | null;
  readonly #place: FirstPlace;
  #sent = false;

  /**
   * @param pidfd stays the caller's. @param cgroup of the sandbox, if it is known.
   * @param scheduling of the calling thread when nothing is urgent
   */
  constructor(pid: number, pidfd: number, cgroup: Pick<Cgroup, 'freezer'> | null, scheduling: ThreadScheduling) {
    this.#place = new FirstPlace(scheduling);
    this.#pid = pid;
    this.#pidfd = pidfd;
    this.#states = new ThreadStates(pid);
    this.#freezer = cgroup === null ? null : new CgroupFreezer(cgroup);
  }

  /** Gets ready, so that {@link stop} is quick. */
  prepare(): void {
    this.#states.prepare();
  }

  /**
   * When it has returned no thread runs any more. When it has failed the process may have been stopped all the same:
   * {@link resume} takes that back.
   *
   * @throws ComicranError process.gone; deadline: a thread waits in the kernel for something that cannot be interrupted.
   */
  stop(): void {
    this.begin();
    this.confirm();
    this.#freezer?.freeze();
  }

  /** Until {@link begin} or an end of the stop the calling thread goes before others of the machine. */
  hasten(): void {
    this.#place.take();
  }

  /**
   * Sends the signal: nobody can keep the process from stopping now, but it may run for some microseconds yet. The calling
   * thread goes before others no longer.
   */
  begin(): void {
    this.#sent = true;
    try {
      signalProcess(this.#pidfd, SIGNAL.STOP);
    } catch (cause) {
      throw gone(this.#pid, cause);
    } finally {
      this.#place.leave();
    }
  }

  /** Behind {@link begin}: when it has returned no thread runs any more. */
  confirm(): void {
    const deadline = nowMicros() + DEADLINE_MICROS;
    for (let pause = FIRST_PAUSE_MICROS; !this.#states.areAll('T'); pause = Math.min(2 * pause, LONGEST_PAUSE_MICROS)) {
      if (nowMicros() > deadline)
        throw new ComicranError('deadline', `process ${this.#pid} did not stop in time`, {
          hint: 'A thread waits in the kernel for something that cannot be interrupted, a disk for example. Try again.',
        });
      sleepMicros(pause);
    }
  }

  /** Lets the process run on: no SIGCONT comes to it, and no call that it waited in ends. Does nothing where it runs. */
  resume(): void {
    this.#place.leave();
    if (!this.#sent) return;
    this.#freezer?.thaw();
    // A stop that is still on its way could not be taken back quietly.
    this.confirm();
    this.#sent = false;
    resumeStopped(this.#pid);
  }

  /** Ends the process. Does nothing where it has ended. */
  kill(): void {
    this.#sent = false;
    this.#place.leave();
    try {
      signalProcess(this.#pidfd, SIGNAL.KILL);
    } catch (error) {
      if (!(error instanceof KernelError) || error.errno !== ESRCH) throw error;
    }
    // A frozen process does not even die.
    this.#freezer?.thaw();
  }

  close(): void {
    this.#place.leave();
    this.#states.close();
    this.#freezer?.close();
  }
}

/**
 * Lets a process run on that {@link SignalStop} has stopped, in this program or an earlier one, and whose control group is
 * not frozen. Does nothing where it runs.
 */
export function resumeStopped(pid: number): void {
  try {
    if (readStatus(pid).text('State')[0] !== 'T') return;
    continueQuietly(pid, (tid) => settle(pid, tid));
  } catch (cause) {
    throw cause instanceof KernelError && cause.errno === ESRCH ? gone(pid, cause) : cause;
  }
}

function gone(pid: number, cause: unknown): ComicranError {
  return new ComicranError('process.gone', `process ${pid} has ended`, { cause });
}
