/** What belongs to the new process as a whole. */
import { writeFileSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import type { ProcessImage, ProcessRecord } from '../image/types.ts';
import { changeLimit } from '../linux/change-limit.ts';
import { cString } from '../linux/libc.ts';
import { readProc, readStatus } from '../linux/procfs.ts';
import { getLimits } from '../linux/scheduling.ts';
import { hasSignal, SIGNAL, SIGNAL_COUNT } from '../linux/signals.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import { signalOf } from './image-signals.ts';

const PR_SET_DUMPABLE = 4;
const PR_SET_CHILD_SUBREAPER = 36;
const PR_SET_THP_DISABLE = 41;
const PR_SET_TIMER_CREATE_RESTORE_IDS = 77;
const ARCH_REQ_XCOMP_PERM = 0x1023;
/** XFEATURE_XTILE_DATA: the one component that has to be asked for. */
const TILE_DATA = 18n;
const ACTION_BYTES = 32;
const SIGSET_BYTES = 8;
const RLIMIT_NOFILE = 7;
const RLIMIT_MEMLOCK = 8;

/** Raised while the process is built: descriptors are made at other numbers first. */
export function raiseDescriptorLimit(main: Tracee, image: ProcessImage): void {
  const highest = image.descriptors.descriptors.at(-1)?.number ?? 0;
  const enough = BigInt(2 * (highest + image.descriptors.descriptors.length) + 256);
  const { soft, hard } = getLimits(main.process.pid)[RLIMIT_NOFILE]!;
  if (soft < enough) changeLimit(main, RLIMIT_NOFILE, { soft: enough, hard: hard < enough ? enough : hard });
}

/** What its threads have from the first one, and what can be done only once. Before there are others. */
export function beginProcess(main: Tracee, { process }: ProcessImage): void {
  main.batch([
    { what: 'set the personality', number: SYS.personality, args: [process.personality] },
    ...sessionCalls(process),
  ]);
}

/** Directory, umask, switches, signal actions. */
export function prepareProcess(main: Tracee, { process, signals }: ProcessImage): void {
  const mark = main.agent.mark();
  const prctl = (what: string, ...args: number[]): RemoteCall => ({ what, number: SYS.prctl, args });
  const calls: RemoteCall[] = [
    {
      what: `go to ${process.workingDirectory}`,
      number: SYS.chdir,
      args: [main.put(cString(process.workingDirectory))],
    },
    { what: 'set the umask', number: SYS.umask, args: [process.umask] },
  ];
  if (process.childSubreaper) calls.push(prctl('become a subreaper', PR_SET_CHILD_SUBREAPER, 1));
  if (process.transparentHugePagesDisabled) calls.push(prctl('switch huge pages off', PR_SET_THP_DISABLE, 1));
  if (((process.grantedStateMask >> TILE_DATA) & 1n) === 1n)
    calls.push({
      what: 'ask for tile data',
      number: SYS.arch_prctl,
      args: [ARCH_REQ_XCOMP_PERM, Number(TILE_DATA)],
    });
  const actions = main.put(signals.actions);
  // After execve all actions are the default, but for signals that the hatchery ignores.
  const ignored = readStatus(main.process.pid).hex('SigIgn');
  for (let signal = 1; signal <= SIGNAL_COUNT; signal++) {
    if (signal === SIGNAL.KILL || signal === SIGNAL.STOP) continue;
    const offset = (signal - 1) * ACTION_BYTES;
    const isDefault = signals.actions.subarray(offset, offset + ACTION_BYTES).every((byte) => byte === 0);
    if (isDefault && !hasSignal(ignored, signal)) continue;
    calls.push({
      what: `set the action of signal ${signal}`,
      number: SYS.rt_sigaction,
      args: [signal, actions + BigInt(offset), 0, SIGSET_BYTES],
    });
  }
  main.batch(calls);
  main.agent.release(mark);
}

/** A group or session that lies outside the PID namespace stays that of the hatchery. */
function sessionCalls({ pid, session, processGroup }: ProcessRecord): RemoteCall[] {
  if (session === pid) return [{ what: 'begin a session', number: SYS.setsid, args: [] }];
  if (processGroup === pid) return [{ what: 'begin a process group', number: SYS.setpgid, args: [0, 0] }];
  return [];
}

/** The last calls of the main thread that need privilege or touch memory. */
export function completionCalls(main: Tracee, image: ProcessImage, restoreTimerIds: boolean): RemoteCall[] {
  return [
    ...timerCalls(main, image, restoreTimerIds),
    ...image.signals.pending.map((info) => ({
      what: `queue signal ${signalOf(info)}`,
      number: SYS.rt_sigqueueinfo,
      args: [image.process.pid, signalOf(info), main.put(info)],
    })),
  ];
}

/** Follows the change of credentials, which takes the flag away. */
export function dumpableCall({ process }: ProcessImage): RemoteCall {
  return {
    what: 'set the dumpable flag',
    number: SYS.prctl,
    args: [PR_SET_DUMPABLE, process.dumpable ? 1 : 0, 0, 0, 0],
  };
}

/**
 * What a process has locked may be more than it may lock now, and in a user namespace no capability allows more. Put back by
 * {@link applyLimits}.
 */
export function raiseLockLimit(main: Tracee, { process }: ProcessImage): void {
  const own = getLimits(main.process.pid)[RLIMIT_MEMLOCK]!.hard;
  let hard = process.limits[RLIMIT_MEMLOCK]?.hard ?? own;
  if (own > hard) hard = own;
  changeLimit(main, RLIMIT_MEMLOCK, { soft: hard, hard });
}

/** What is set while the process still has its first credentials. */
export function applyLimits(main: Tracee, { process }: ProcessImage): void {
  const { pid } = main.process;
  const current = getLimits(pid);
  for (const [resource, limit] of process.limits.entries()) {
    const { soft, hard } = current[resource] ?? limit;
    // A hard limit is raised with CAP_SYS_RESOURCE only, which is not to be needed where nothing changes.
    if (soft !== limit.soft || hard !== limit.hard) changeLimit(main, resource, limit);
  }
  const score = String(process.oomScoreAdjust);
  if (readProc(pid, 'oom_score_adj').trim() !== score) writeFileSync(`/proc/${pid}/oom_score_adj`, score);
}

/** Older kernels count timers; up to here they are counted along with. */
const MAX_COUNTED_ID = 1000;
const SIGEV_SIGNAL = 0;
const SIGEV_NONE = 1;
const SIGEV_THREAD_ID = 4;
const SIGEVENT_BYTES = 64;
const NANOS = 1_000_000_000n;
const MICROS = 1_000_000n;

function encodeTimer(interval: bigint, remaining: bigint, perSecond: bigint): Buffer {
  const bytes = Buffer.alloc(32);
  const words = [interval / perSecond, interval % perSecond, remaining / perSecond, remaining % perSecond];
  for (const [index, word] of words.entries()) bytes.writeBigInt64LE(word, index * 8);
  return bytes;
}

function timerCalls(main: Tracee, { timers }: ProcessImage, restoreIds: boolean): RemoteCall[] {
  const calls: RemoteCall[] = [];
  const far = timers.posix.find(({ id }) => id > MAX_COUNTED_ID);
  if (!restoreIds && far !== undefined)
    throw new ComicranError('needs.kernel', `timer ${far.id} cannot be given its id by this kernel`, {
      hint: 'Linux 6.15 and newer can.',
    });
  const ids = (on: boolean): RemoteCall => ({
    what: 'choose the ids of timers',
    number: SYS.prctl,
    args: [PR_SET_TIMER_CREATE_RESTORE_IDS, on ? 1 : 0, 0, 0, 0],
  });
  if (restoreIds && timers.posix.length > 0) calls.push(ids(true));
  let next = 0;
  for (const { id, clock, notification, remainingNanos, intervalNanos } of timers.posix.toSorted(
    (a, b) => a.id - b.id,
  )) {
    const event = Buffer.alloc(SIGEVENT_BYTES);
    if (notification.kind === 'none') event.writeInt32LE(SIGEV_NONE, 12);
    else {
      event.writeBigUInt64LE(notification.value, 0);
      event.writeInt32LE(notification.signal, 8);
      event.writeInt32LE(notification.kind === 'thread' ? SIGEV_THREAD_ID : SIGEV_SIGNAL, 12);
      if (notification.kind === 'thread') event.writeInt32LE(notification.tid, 16);
    }
    const wanted = Buffer.alloc(4);
    wanted.writeInt32LE(id, 0);
    const create = (): RemoteCall => ({
      what: `make timer ${id}`,
      number: SYS.timer_create,
      args: [clock, main.put(event), main.put(wanted)],
    });
    // Ids are given out one after the other: the ones between are made and deleted.
    for (; !restoreIds && next < id; next++)
      calls.push(create(), { what: 'delete a timer', number: SYS.timer_delete, args: [next] });
    next = id + 1;
    calls.push(create());
    if (remainingNanos > 0n)
      calls.push({
        what: `arm timer ${id}`,
        number: SYS.timer_settime,
        args: [id, 0, main.put(encodeTimer(intervalNanos, remainingNanos, NANOS)), 0],
      });
  }
  if (restoreIds && timers.posix.length > 0) calls.push(ids(false));
  for (const [which, { remainingMicros, intervalMicros }] of timers.intervals.entries())
    if (remainingMicros > 0n)
      calls.push({
        what: `arm interval timer ${which}`,
        number: SYS.setitimer,
        args: [which, main.put(encodeTimer(intervalMicros, remainingMicros, MICROS)), 0],
      });
  return calls;
}
