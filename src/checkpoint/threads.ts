/** Threads: what can be read from outside, and what only the thread itself can tell. */
import { defined } from '../base/assert.ts';
import type { CredentialsImage, ThreadImage } from '../image/types.ts';
import { readProcBytes, type StatusFile } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import { REGISTER_SET } from '../linux/ptrace.ts';
import { getAffinity, getRobustList, getScheduling } from '../linux/scheduling.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import { type FrozenThread, waitingSignals } from './freeze.ts';
import { prepareRestore } from './restart.ts';
import type { RestartedCalls } from './restarted-calls.ts';

const PR_GET_PDEATHSIG = 2;
const PR_GET_SECUREBITS = 27;
const PR_GET_TIMERSLACK = 30;
const PR_GET_TID_ADDRESS = 40;

/** struct rseq and struct rseq_cs of linux/rseq.h. */
const RSEQ_CS_POINTER = 8n;
const RSEQ_CS_BYTES = 32;

/**
 * Makes a stopped thread ready for injected calls: one that was preempted inside a restartable sequence goes to its abort
 * handler. The kernel sees to that when the thread returns to where it was; it cannot any more once an injected call has
 * returned somewhere else.
 */
export function leaveRestartableSequence(thread: Tracee): void {
  const area = ptrace.getRseq(thread.tid).address;
  if (area === 0n) return;
  const pointer = thread.read(area + RSEQ_CS_POINTER, 8).readBigUInt64LE(0);
  if (pointer === 0n) return;
  const sequence = thread.read(pointer, RSEQ_CS_BYTES);
  const offset = thread.registers.get('rip') - sequence.readBigUInt64LE(8);
  if (offset < 0n || offset >= sequence.readBigUInt64LE(16)) return;
  thread.registers.set('rip', sequence.readBigUInt64LE(24));
  thread.restore();
}

/** What only the thread itself can tell. */
export type OwnAnswers = Pick<
  ThreadImage,
  'clearTidAddress' | 'alternateStack' | 'parentDeathSignal' | 'timerSlackNanos'
> & {
  readonly secureBits: number;
};

/** Asks the thread, by calls injected into it. Needs the agent. */
export function askThread(thread: Tracee): OwnAnswers {
  const mark = thread.agent.mark();
  // unsigned long, stack_t (address, flags, size), int
  const at = thread.agent.reserve(8 + 24 + 8);
  const prctl = (what: string, option: number, into: bigint): RemoteCall => ({
    what: `read the ${what}`,
    number: SYS.prctl,
    args: [option, into, 0, 0, 0],
  });
  const results = thread.batch([
    prctl('thread id address', PR_GET_TID_ADDRESS, at),
    { what: 'read the alternate signal stack', number: SYS.sigaltstack, args: [0, at + 8n] },
    prctl('parent death signal', PR_GET_PDEATHSIG, at + 32n),
    prctl('securebits', PR_GET_SECUREBITS, 0n),
    prctl('timer slack', PR_GET_TIMERSLACK, 0n),
  ]);
  const answer = thread.read(at, 40);
  thread.agent.release(mark);
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

/** The extended state with every component of today's CPUs is 11,008 bytes. */
const extendedState = Buffer.alloc(1 << 16);

/**
 * Reads a stopped thread.
 *
 * @param allCpus what the affinity of a thread is that was never restricted.
 */
export function captureThread(
  { thread, status }: FrozenThread,
  own: OwnAnswers,
  restarted: RestartedCalls,
  allCpus: Uint8Array,
): ThreadImage {
  const { tid } = thread;
  const registers = thread.registers.clone();
  prepareRestore(registers, waitingSignals(status, thread.signalMask) !== 0n, restarted.nameOf(thread, registers));
  const stateLength = ptrace.getRegisterSet(tid, REGISTER_SET.X86_XSTATE, extendedState);
  return {
    tid: status.innermost('NSpid'),
    name: readName(thread.process.pid, tid),
    registers: registers.bytes,
    extendedState: Buffer.from(extendedState.subarray(0, stateLength)),
    signalMask: thread.signalMask,
    alternateStack: own.alternateStack,
    rseq: ptrace.getRseq(tid),
    robustList: getRobustList(tid),
    clearTidAddress: own.clearTidAddress,
    parentDeathSignal: own.parentDeathSignal,
    timerSlackNanos: own.timerSlackNanos,
    pendingSignals: status.hex('SigPnd') === 0n ? [] : ptrace.peekSignals(tid, false),
    credentials: readCredentials(status, own.secureBits),
    scheduling: { ...getScheduling(tid), affinity: restrictedAffinity(tid, allCpus) },
  };
}

function readName(pid: number, tid: number): Buffer {
  const bytes = readProcBytes(pid, `task/${tid}/comm`);
  return bytes.subarray(0, bytes.length - 1);
}

function readCredentials(status: StatusFile, secureBits: number): CredentialsImage {
  return {
    userIds: fourIds(status, 'Uid'),
    groupIds: fourIds(status, 'Gid'),
    groups: status.numbers('Groups'),
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

function fourIds(status: StatusFile, name: string): CredentialsImage['userIds'] {
  const [real, effective, saved, fileSystem] = status.numbers(name);
  return [defined(real, name), defined(effective, name), defined(saved, name), defined(fileSystem, name)];
}

/** The CPUs of a thread that may not run on all of them; empty: it may. */
function restrictedAffinity(tid: number, allCpus: Uint8Array): Buffer {
  const mask = getAffinity(tid);
  return allCpus.some((byte, index) => (byte & (mask[index] ?? 0)) !== byte) ? mask : Buffer.alloc(0);
}
