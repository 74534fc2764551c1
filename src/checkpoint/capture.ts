/**
 * From stopped threads to a process image, in two parts: what has to be read while they stand still, and what is made of
 * that, or read from a clone, afterwards.
 */
import { ComicranError } from '../base/errors.ts';
import type { PosixTimer, ProcessImage, TimerImage } from '../image/types.ts';
import { AGENT_BYTES } from '../linux/agent.ts';
import { ROOM_BYTES } from '../linux/batch-in-all.ts';
import { Errand } from '../linux/errand.ts';
import { parseTimers, readProc } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import type { RemoteCall, Tracee } from '../linux/tracee.ts';
import type { LateTable, PreparedDescriptors } from './descriptors/prepared.ts';
import { areFaultsFree, chooseDoorbell } from './doorbell.ts';
import type { FrozenThread } from './freeze.ts';
import type { PageRange } from './frozen.ts';
import { findChildren } from './inspect.ts';
import { type AddressSpace, type AreaSurvey, captureAddressSpace, type ProcessSurvey, refuseAreas } from './memory.ts';
import {
  type Clocks,
  capturePlatform,
  captureProcess,
  hasChildren,
  isSubreaper,
  ownState,
  readClocks,
} from './process.ts';
import { ask } from './question.ts';
import { intervalTimers, posixTimers, signalActions } from './signals.ts';
import type { SourceTools } from './source.ts';
import { askThreads, type OwnAnswers, ownAnswers, readThread, type ThreadReading, threadImage } from './threads.ts';

/** Everything of an image but how many bytes of pages travel beside it. */
export type CapturedState = Omit<ProcessImage, 'memory'> & { readonly memory: AddressSpace };

/** The image of what was captured, with these pages. */
export function imageWith(state: CapturedState, pages: readonly PageRange[]): ProcessImage {
  const pageBytes = BigInt(pages.reduce((sum, { length }) => sum + length, 0));
  return { ...state, memory: { ...state.memory, pageBytes } };
}

/** What only the process itself can tell, not a clone of it. */
type OwnTimers = { readonly intervals: TimerImage['intervals']; readonly posix: PosixTimer[] };

/** What was read while all threads stood still. */
export type StoppedReadings = {
  readonly survey: AreaSurvey;
  readonly threads: readonly ThreadReading[];
  readonly ownAnswers: readonly OwnAnswers[];
  readonly clocks: Clocks;
  readonly timers: OwnTimers;
  readonly childSubreaper: boolean;
  readonly pendingSignals: Buffer[];
  readonly descriptors: LateTable;
};

/**
 * Makes calls in the main thread, which has the agent.
 *
 * @param errand to work at while the process is busy with them on another CPU; it need not be finished.
 * @returns their results.
 */
export type Inject = (
  main: Tracee,
  survey: ProcessSurvey,
  calls: readonly RemoteCall[],
  errand: Errand<unknown>,
) => readonly bigint[];

/**
 * Reads a process whose threads are all stopped. Whether it succeeds or fails, every thread can be let go.
 *
 * @param survey of its areas. @param inject may do more in the same stop: fork. @param atAgent called when nothing but that is left to inject.
 */
export function readStopped<T>(
  tools: SourceTools,
  prepared: PreparedDescriptors,
  frozen: readonly FrozenThread[],
  survey: ProcessSurvey,
  inject: Inject,
  atAgent: (main: Tracee) => T,
): StoppedReadings & { readonly atAgent: T } {
  const { pid, faults, process } = tools;
  refuseAreas(pid, survey);
  process.syscallSite = survey.syscallSite;
  process.doorbell = chooseDoorbell(frozen.map(({ status }) => status));
  process.mayFault = survey.faultsBehind && areFaultsFree(frozen[0]!.status);
  const clocks = readClocks();
  const tids = frozen.map(({ thread }) => thread.tid);
  const threads = frozen.map((thread) => readThread(thread, tools.restarted));
  const main = frozen[0]!;
  const pendingSignals = main.status.hex('ShdPnd') === 0n ? [] : ptrace.peekSignals(main.thread.tid, true);
  faults.reach('capture.threads');

  using descriptors = new Errand(prepared.capture(tids));
  const askAll = (room: bigint) => {
    faults.reach('capture.agent-installed');
    const ofOthers = askThreads(threads.slice(1), room);
    faults.reach('capture.thread-calls');
    const ofProcess = ask((calls) => inject(main.thread, survey, calls, descriptors), {
      ofMain: ownAnswers(main.thread),
      children: hasChildren(),
      childSubreaper: isSubreaper(main.thread),
      intervals: intervalTimers(main.thread),
      posix: posixTimers(main.thread, parseTimers(readProc(pid, 'timers'))),
      descriptorFlags: prepared.flags(),
    });
    faults.reach('capture.process-calls');
    const answers = [ofProcess.ofMain, ...ofOthers];
    return { ...ofProcess, answers, atAgent: atAgent(main.thread) };
  };
  let asked: ReturnType<typeof askAll>;
  try {
    asked = withAgent(main.thread, frozen.length - 1, askAll);
  } finally {
    process.errand = null;
  }
  faults.reach('capture.agent-removed');
  if (asked.children) throw hasChildrenError(pid);
  const table = prepared.confirm(descriptors.finish(), asked.descriptorFlags, tids);
  faults.reach('capture.descriptors');
  const { answers, intervals, posix, childSubreaper } = asked;
  const timers = { intervals, posix };
  return {
    survey,
    threads,
    ownAnswers: answers,
    clocks,
    timers,
    childSubreaper,
    pendingSignals,
    descriptors: table,
    atAgent: asked.atAgent,
  };
}

function hasChildrenError(pid: number): ComicranError {
  const children = findChildren(pid);
  const what = children.length === 0 ? 'it has a child process' : children.join('; ');
  return new ComicranError('process.unsupported', `process ${pid} cannot be moved: ${what}`);
}

/** What a clone has from the process: it is read from either of them. */
export type InheritedState = {
  readonly actions: Buffer;
  readonly own: ReturnType<ReturnType<typeof ownState>['answer']>;
};

/** @param thread with the agent: the main thread of the process, or of a clone. */
export function askInherited(thread: Tracee): InheritedState {
  return ask<InheritedState>((calls) => thread.batch(calls), { actions: signalActions(thread), own: ownState(thread) });
}

/** What was read, and what makes an image of it: the process may run by then. */
export type ReadState = { readonly memory: AddressSpace; readonly complete: () => CapturedState };

/**
 * Reads the rest.
 *
 * @param pid the process, or a clone of it where the process runs again.
 */
export function readState(
  tools: SourceTools,
  pid: number,
  readings: StoppedReadings,
  { actions, own }: InheritedState,
): ReadState {
  const { facts, faults } = tools;
  const { survey, childSubreaper, pendingSignals } = readings;
  const memory = captureAddressSpace(pid, survey, own.brk);
  faults.reach('capture.memory');
  const main = readings.threads[0]!;
  const platform = capturePlatform(pid, facts, main.extendedState, readings.clocks);
  const process = captureProcess(pid, main.status, { ...own, childSubreaper }, tools.ids);
  const complete = (): CapturedState => ({
    platform,
    process,
    memory,
    signals: { actions, pending: pendingSignals },
    timers: readings.timers,
    threads: readings.threads.map((reading, index) =>
      threadImage(reading, readings.ownAnswers[index]!, facts.scheduling.cpus, tools.ids),
    ),
    descriptors: readings.descriptors(),
  });
  return { memory, complete };
}

/** Captures a process whose threads are all stopped, and which is not cloned. */
export function captureState(
  tools: SourceTools,
  prepared: PreparedDescriptors,
  frozen: readonly FrozenThread[],
): ReadState {
  const inject: Inject = (main, _survey, calls) => main.batch(calls);
  const readings = readStopped(tools, prepared, frozen, tools.surveyor.survey(), inject, askInherited);
  return readState(tools, tools.pid, readings, readings.atAgent);
}

/**
 * Does something with the agent in the process, and takes it out again.
 *
 * @param threads that need room behind the agent. @param run gets its address.
 */
function withAgent<T>(main: Tracee, threads: number, run: (room: bigint) => T): T {
  const { base } = main.installAgent(AGENT_BYTES + ROOM_BYTES * BigInt(threads));
  let result: T;
  try {
    result = run(base + AGENT_BYTES);
  } catch (error) {
    try {
      main.removeAgent();
    } catch {
      // A mapping too much in a process that is in trouble already; the first error says which.
    }
    throw error;
  }
  main.removeAgent();
  return result;
}
