/** Making the most of the moments in which a process is stopped. */
import { EPERM, KernelError } from './errno.ts';
import {
  currentCpu,
  getAffinity,
  getScheduling,
  type SchedulingAttributes,
  setAffinity,
  setScheduling,
} from './scheduling.ts';
import { ShallowIdle } from './shallow-idle.ts';

const MOST_URGENT = -20;

/** How a thread is scheduled when nothing is urgent, to go back to. */
export type ThreadScheduling = {
  readonly attributes: SchedulingAttributes;
  readonly cpus: Buffer;
  /** What the thread asks of idle CPUs while something is urgent. */
  readonly idle: ShallowIdle;
};

/** Of the calling thread, as it is. */
export function currentScheduling(): ThreadScheduling {
  return { attributes: getScheduling(0), cpus: getAffinity(0), idle: new ShallowIdle() };
}

/**
 * Puts the calling thread before others of the machine, and keeps idle CPUs awake for those that it is about to wake.
 *
 * @param cpu the mask of the only CPU to run on; null: it may run where it likes.
 */
export function beUrgent(normal: ThreadScheduling, cpu: Uint8Array | null): void {
  try {
    setScheduling(0, { ...normal.attributes, nice: MOST_URGENT });
  } catch (error) {
    // Slower, but no less right, without CAP_SYS_NICE.
    if (!(error instanceof KernelError) || error.errno !== EPERM) throw error;
  }
  setAffinity(0, cpu ?? normal.cpus);
  normal.idle.ask();
}

const SCHED_OTHER = 0;
const SCHED_FIFO = 1;
/** The kernel leaves out those that there are not. */
const ANY_CPU = Buffer.alloc(128, 0xff);

/**
 * Puts the calling thread before everything else of the machine that is not real-time: for some milliseconds in which it does
 * nothing but go back and forth with a traced process. Undone by {@link beUrgent} and {@link beNormal}. It must not spin: what
 * it waits for may need its CPU.
 */
export function beFirst(): void {
  putFirst(0, true);
}

/** @returns false where that is not allowed: without CAP_SYS_NICE, and in a control group without real time. */
function putFirst(tid: number, resetOnFork: boolean): boolean {
  try {
    setScheduling(tid, { policy: SCHED_FIFO, resetOnFork, nice: 0, priority: 1 });
    return true;
  } catch (error) {
    if (!(error instanceof KernelError) || error.errno !== EPERM) throw error;
    return false;
  }
}

/**
 * Puts a thread before everything else on the CPUs that the calling thread is not on, so that the two run at the same time.
 * Where it cannot be before others, it stays where it is. What it forks is as it is: for threads that run none of a program's own code. Undone by {@link putBack}.
 */
export function putBeside(tid: number): void {
  if (!putFirst(tid, false)) return;
  const cpus = getAffinity(tid);
  const own = currentCpu();
  const octet = own >> 3;
  cpus[octet] = (cpus[octet] ?? 0) & ~(1 << (own & 7));
  if (cpus.some((bits) => bits !== 0)) setAffinity(tid, cpus);
}

/** Makes a thread like others again, also one that is no more. */
export function putBack(tid: number): void {
  try {
    setScheduling(tid, { policy: SCHED_OTHER, resetOnFork: false, nice: 0, priority: 0 });
    setAffinity(tid, ANY_CPU);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

export function beNormal(normal: ThreadScheduling): void {
  setScheduling(0, normal.attributes);
  setAffinity(0, normal.cpus);
  normal.idle.end();
}

/** {@link beFirst} for a while, and back: of the thread that uses it. */
export class FirstPlace {
  readonly #normal: ThreadScheduling;
  #isTaken = false;

  /** @param normal to go back to */
  constructor(normal = currentScheduling()) {
    this.#normal = normal;
  }

  /** May be repeated. */
  take(): void {
    if (!this.#isTaken) beFirst();
    this.#isTaken = true;
  }

  /** Does nothing where it is not taken. */
  leave(): void {
    if (this.#isTaken) beNormal(this.#normal);
    this.#isTaken = false;
  }
}
