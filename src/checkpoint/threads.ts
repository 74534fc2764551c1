/** Threads: what can be read from outside, and what only the thread itself can tell. */
import { defined } from '../base/assert.ts';
import type { CredentialsImage, ThreadImage } from '../image/types.ts';
import { batchInAll } from '../linux/batch-in-all.ts';
import { type IdMaps, insideId } from '../linux/id-map.ts';
import type { StatusFile } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import { REGISTER_SET } from '../linux/ptrace.ts';
import { getAffinity, getRobustList, getScheduling, type SchedulingAttributes } from '../linux/scheduling.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import { type FrozenThread, waitingSignals } from './freeze.ts';
import type { Question } from './question.ts';
import { prepareRestore } from './restart.ts';
import type { RestartedCalls } from './restarted-calls.ts';

const PR_GET_PDEATHSIG = 2;
const PR_GET_SECUREBITS = 27;
const PR_GET_TIMERSLACK = 30;
const PR_GET_TID_ADDRESS = 40;

/** struct rseq and struct rseq_cs of linux/rseq.h. */
const RSEQ_CS_POINTER = 8n;
const RSEQ_CS_BYTES = 32;

/** What only the thread itself can tell. */
export type OwnAnswers = Pick<
  ThreadImage,
  'clearTidAddress' | 'alternateStack' | 'parentDeathSignal' | 'timerSlackNanos'
> & {
  readonly secureBits: number;
};

/** What can be read of a stopped thread from outside. */
export type ThreadReading = FrozenThread &
  Pick<ThreadImage, 'extendedState' | 'rseq' | 'robustList' | 'pendingSignals'> & {
    readonly scheduling: SchedulingAttributes;
    readonly affinity: Buffer;
    /** The call that the thread is in where its registers do not tell. */
    readonly restarted: number | null;
  };

/** The extended state with every component of today's CPUs is 11,008 bytes. */
const extendedState = Buffer.alloc(1 << 16);

/** Reads a stopped thread, and makes it ready for injected calls. */
export function readThread({ thread, status }: FrozenThread, restarted: RestartedCalls): ThreadReading {
  const { tid } = thread;
  const rseq = ptrace.getRseq(tid);
  leaveRestartableSequence(thread, rseq.address);
  const stateLength = ptrace.getRegisterSet(tid, REGISTER_SET.X86_XSTATE, extendedState);
  return {
    thread,
    status,
    extendedState: Buffer.from(extendedState.subarray(0, stateLength)),
    rseq,
    robustList: getRobustList(tid),
    pendingSignals: status.hex('SigPnd') === 0n ? [] : ptrace.peekSignals(tid, false),
    scheduling: getScheduling(tid),
    affinity: getAffinity(tid),
    restarted: restarted.nameOf(thread, thread.registers),
  };
}

/**
 * One that was preempted inside a restartable sequence goes to its abort handler. The kernel sees to that when the thread
 * returns to where it was; it cannot any more once an injected call has returned somewhere else.
 */
export function leaveRestartableSequence(thread: Tracee, area = ptrace.getRseq(thread.tid).address): void {
  if (area === 0n) return;
  const pointer = thread.read(area + RSEQ_CS_POINTER, 8).readBigUInt64LE(0);
  if (pointer === 0n) return;
  const sequence = thread.read(pointer, RSEQ_CS_BYTES);
  const offset = thread.registers.get('rip') - sequence.readBigUInt64LE(8);
  if (offset < 0n || offset >= sequence.readBigUInt64LE(16)) return;
  thread.registers.set('rip', sequence.readBigUInt64LE(24));
  thread.restore();
}

/** unsigned long, stack_t (address, flags, size), int */
const ANSWER_BYTES = 8 + 24 + 8;

/** As {@link askThreads}, of the main thread along with other questions. */
export function ownAnswers(main: Tracee): Question<OwnAnswers> {
  const at = main.agent.reserve(ANSWER_BYTES);
  return { calls: ownCalls(at), answer: (results) => decodeAnswers(results, main.read(at, ANSWER_BYTES)) };
}

/**
 * Asks threads, by calls injected into all of them at once.
 *
 * @param room behind the agent, for each of them (linux/batch-in-all.ts).
 */
export function askThreads(readings: readonly ThreadReading[], room: bigint): OwnAnswers[] {
  return batchInAll(readings, room, ANSWER_BYTES, ownCalls).map(({ results, answer }) =>
    decodeAnswers(results, answer),
  );
}

function decodeAnswers(results: readonly bigint[], answer: Buffer): OwnAnswers {
  return {
    clearTidAddress: answer.readBigUInt64LE(0),
    alternateStack: {
      address: answer.readBigUInt64LE(8),
      flags: answer.readUInt32LE(16),
      size: answer.readBigUInt64LE(24),
    },
    parentDeathSignal: answer.readUInt32LE(32),
    secureBits: Number(results[3]),
    timerSlackNanos: results[4]!,
  };
}

function ownCalls(at: bigint): RemoteCall[] {
  const prctl = (what: string, option: number, into: bigint): RemoteCall => ({
    what: `read the ${what}`,
    number: SYS.prctl,
    args: [option, into, 0, 0, 0],
  });
  return [
    prctl('thread id address', PR_GET_TID_ADDRESS, at),
    { what: 'read the alternate signal stack', number: SYS.sigaltstack, args: [0, at + 8n] },
    prctl('parent death signal', PR_GET_PDEATHSIG, at + 32n),
    prctl('securebits', PR_GET_SECUREBITS, 0n),
    prctl('timer slack', PR_GET_TIMERSLACK, 0n),
  ];
}

/**
 * The image of a thread from what was read. The thread may run again.
 *
 * @param allCpus what the affinity of a thread is that was never restricted. @param ids of its user namespace.
 */
export function threadImage(reading: ThreadReading, own: OwnAnswers, allCpus: Uint8Array, ids: IdMaps): ThreadImage {
  const { thread, status } = reading;
  const registers = thread.registers.clone();
  prepareRestore(registers, waitingSignals(status, thread.signalMask) !== 0n, reading.restarted);
  return {
    tid: status.innermost('NSpid'),
    name: status.name(),
    registers: registers.bytes,
    extendedState: reading.extendedState,
    signalMask: thread.signalMask,
    alternateStack: own.alternateStack,
    rseq: reading.rseq,
    robustList: reading.robustList,
    clearTidAddress: own.clearTidAddress,
    parentDeathSignal: own.parentDeathSignal,
    timerSlackNanos: own.timerSlackNanos,
    pendingSignals: reading.pendingSignals,
    credentials: readCredentials(status, own.secureBits, ids),
    scheduling: { ...reading.scheduling, affinity: restricted(reading.affinity, allCpus) },
  };
}

function readCredentials(status: StatusFile, secureBits: number, { users, groups }: IdMaps): CredentialsImage {
  return {
    userIds: fourIds(status, 'Uid', users),
    groupIds: fourIds(status, 'Gid', groups),
    groups: status.numbers('Groups').map((id) => insideId(groups, id)),
    capabilities: {
      inheritable: status.hex('CapInh'),
      permitted: status.hex('CapPrm'),
      effective: status.hex('CapEff'),
      bounding: status.hex('CapBnd'),
      ambient: status.hex('CapAmb'),
    },
    secureBits,
    noNewPrivileges: status.number('NoNewPrivs') === 1,
  };
}

function fourIds(status: StatusFile, name: string, ranges: IdMaps['users']): CredentialsImage['userIds'] {
  const [real, effective, saved, fileSystem] = status.numbers(name).map((id) => insideId(ranges, id));
  return [defined(real, name), defined(effective, name), defined(saved, name), defined(fileSystem, name)];
}

/** The CPUs of a thread that may not run on all of them; empty: it may. */
function restricted(mask: Buffer, allCpus: Uint8Array): Buffer {
  return allCpus.some((byte, index) => (byte & (mask[index] ?? 0)) !== byte) ? mask : Buffer.alloc(0);
}
