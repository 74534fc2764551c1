/** Threads of the new process. */
import type { ProcessRecord, ThreadImage } from '../image/types.ts';
import { CLONE_ARGUMENTS_BYTES, encodeCloneArguments, expectStop } from '../linux/clone-arguments.ts';
import { CLONE } from '../linux/clone-flags.ts';
import { credentialCalls, hasCredentials } from '../linux/credentials.ts';
import { readStatus } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import { REGISTER_SET } from '../linux/ptrace.ts';
import { Registers } from '../linux/registers.ts';
import { setAffinity, setScheduling } from '../linux/scheduling.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { type RemoteCall, Tracee } from '../linux/tracee.ts';
import { waitThread } from '../linux/wait.ts';
import { signalOf } from './image-signals.ts';

const PR_SET_PDEATHSIG = 1;
const PR_SET_NAME = 15;
const PR_SET_TIMERSLACK = 29;
const SS_DISABLE = 2;
const SS_AUTODISARM = 1 << 31;
const STACK_BYTES = 24;
const THREAD_FLAGS = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.THREAD | CLONE.SYSVSEM;

/** A thread of the new process and what it is to become. */
export type RestoringThread = { readonly thread: Tracee; readonly image: ThreadImage };

/** Makes the other threads, each with its TID. They stop before their first instruction. */
export function makeThreads(main: Tracee, images: readonly ThreadImage[]): RestoringThread[] {
  const mark = main.agent.mark();
  const at = main.agent.reserve(CLONE_ARGUMENTS_BYTES + 8);
  const threads: RestoringThread[] = [{ thread: main, image: images[0]! }];
  for (const image of images.slice(1)) {
    main.process.memory.write(at, encodeCloneArguments(at, THREAD_FLAGS, image.tid));
    const tid = main.clone(`make thread ${image.tid}`, at, CLONE_ARGUMENTS_BYTES);
    expectStop(tid, waitThread(tid));
    const thread = new Tracee(main.process, tid);
    threads.push({ thread, image });
  }
  main.agent.release(mark);
  return threads;
}

/** What can be set before the memory has its contents. */
export function prepareThread({ thread, image }: RestoringThread): void {
  const mark = thread.agent.mark();
  const { alternateStack, robustList } = image;
  const calls: RemoteCall[] = [
    { what: 'set the thread id address', number: SYS.set_tid_address, args: [image.clearTidAddress] },
    { what: 'name the thread', number: SYS.prctl, args: [PR_SET_NAME, thread.put(named(image.name))] },
    { what: 'set the timer slack', number: SYS.prctl, args: [PR_SET_TIMERSLACK, image.timerSlackNanos] },
  ];
  if (robustList.head !== 0n)
    calls.push({
      what: 'set the robust list',
      number: SYS.set_robust_list,
      args: [robustList.head, robustList.length],
    });
  if ((alternateStack.flags & SS_DISABLE) === 0) {
    const stack = Buffer.alloc(STACK_BYTES);
    stack.writeBigUInt64LE(alternateStack.address, 0);
    // Whether the thread is on it follows from its stack pointer.
    stack.writeInt32LE(alternateStack.flags & SS_AUTODISARM, 8);
    stack.writeBigUInt64LE(alternateStack.size, 16);
    calls.push({ what: 'set the alternate stack', number: SYS.sigaltstack, args: [thread.put(stack), 0] });
  }
  thread.batch(calls);
  thread.agent.release(mark);
}

function named(name: Uint8Array): Buffer {
  return Buffer.concat([name, Buffer.alloc(1)]);
}

/** Calls of the whole process that one of its threads makes along with its own. */
export type ExtraCalls = { readonly before: readonly RemoteCall[]; readonly after: readonly RemoteCall[] };
export const NO_EXTRA_CALLS: ExtraCalls = { before: [], after: [] };

/**
 * What comes when the memory has its contents, last of all the credentials.
 *
 * @param process the image of the whole.
 */
export function completeThread(
  { thread, image }: RestoringThread,
  { pid, ids }: ProcessRecord,
  extra: ExtraCalls,
): void {
  const mark = thread.agent.mark();
  const { rseq } = image;
  const calls = [...extra.before];
  // The kernel writes into the area at once and at every return to the program.
  if (rseq.address !== 0n)
    calls.push({
      what: 'register the restartable sequences',
      number: SYS.rseq,
      args: [rseq.address, rseq.size, rseq.flags, rseq.signature],
    });
  for (const info of image.pendingSignals)
    calls.push({
      what: `queue signal ${signalOf(info)}`,
      number: SYS.rt_tgsigqueueinfo,
      args: [pid, image.tid, signalOf(info), thread.put(info)],
    });
  if (!hasCredentials(readStatus(thread.process.pid, thread.tid), image.credentials, ids))
    calls.push(...credentialCalls(thread, image.credentials));
  // Forgotten with every change of credentials.
  if (image.parentDeathSignal !== 0)
    calls.push({
      what: 'set the parent death signal',
      number: SYS.prctl,
      args: [PR_SET_PDEATHSIG, image.parentDeathSignal],
    });
  calls.push(...extra.after);
  if (calls.length > 0) thread.batch(calls);
  thread.agent.release(mark);
}

/** Scheduling, from outside. */
export function schedule({ thread, image }: RestoringThread, allCpus: Uint8Array): void {
  const { scheduling } = image;
  setScheduling(thread.tid, scheduling);
  // Where none of its CPUs exists here it may run on all.
  if (scheduling.affinity.length > 0 && setAffinity(thread.tid, scheduling.affinity)) return;
  setAffinity(thread.tid, allCpus);
}

/** The thread's own registers, extended state and signal mask. From here on no call can be injected into it. */
export function setRegisters({ thread, image }: RestoringThread): void {
  ptrace.setRegisterSet(thread.tid, REGISTER_SET.X86_XSTATE, image.extendedState);
  ptrace.setRegisters(thread.tid, new Registers(Buffer.from(image.registers)));
  ptrace.setSignalMask(thread.tid, image.signalMask);
}
