/** From stopped threads to a process image. */
import { ComicranError } from '../base/errors.ts';
import type { PosixTimer, ProcessImage, TimerImage } from '../image/types.ts';
import { AGENT_BYTES } from '../linux/agent.ts';
import { parseTimers, readProc } from '../linux/procfs.ts';
import * as ptrace from '../linux/ptrace.ts';
import type { Tracee } from '../linux/tracee.ts';
import { readVdso } from '../linux/vdso.ts';
import { captureDescriptors } from './descriptors/capture.ts';
import { chooseDoorbell } from './doorbell.ts';
import type { FrozenThread } from './freeze.ts';
import type { PageRange } from './frozen.ts';
import { findChildren } from './inspect.ts';
import { type AddressSpace, type AreaSurvey, captureAddressSpace } from './memory.ts';
import { capturePlatform, captureProcess, type OwnState, ownState } from './process.ts';
import { ask } from './question.ts';
import { intervalTimers, posixTimers, signalActions } from './signals.ts';
import type { SourceTools } from './source.ts';
import { askThread, captureThread, leaveRestartableSequence, type OwnAnswers } from './threads.ts';

/** What the process said about itself, through calls injected into it. */
type Answers = {
  readonly actions: Buffer;
  readonly own: OwnState;
  readonly intervals: TimerImage['intervals'];
  readonly posix: PosixTimer[];
  readonly threads: readonly OwnAnswers[];
};

/** Everything of an image but how many bytes of pages travel beside it. */
export type CapturedState = Omit<ProcessImage, 'memory'> & { readonly memory: AddressSpace };

/** The image of what was captured, with these pages. */
export function imageWith(state: CapturedState, pages: readonly PageRange[]): ProcessImage {
  const pageBytes = BigInt(pages.reduce((sum, { length }) => sum + length, 0));
  return { ...state, memory: { ...state.memory, pageBytes } };
}

/**
 * Captures a process whose threads are all stopped. Whether it succeeds or fails, every thread can be let go.
 *
 * @param withMain called with the main thread, when the agent is in the process.
 */
export function captureState(
  tools: SourceTools,
  frozen: readonly FrozenThread[],
  withMain: (main: Tracee, survey: AreaSurvey) => void = () => undefined,
): CapturedState {
  const { pid, facts, faults, process } = tools;
  const children = findChildren(pid);
  if (children.length > 0)
    throw new ComicranError('process.unsupported', `process ${pid} cannot be moved: ${children.join('; ')}`);
  const survey = tools.surveyor.survey();
  process.syscallSite = readVdso(survey.specials, process.memory).syscallSite;
  process.doorbell = chooseDoorbell(frozen.map(({ status }) => status));

  const answers = interview(tools, frozen, (main) => withMain(main, survey));
  const threads = frozen.map((thread, index) =>
    captureThread(thread, answers.threads[index]!, tools.restarted, facts.scheduling.cpus),
  );
  faults.reach('capture.threads');
  const addressSpace = captureAddressSpace(pid, survey, answers.own.brk);
  faults.reach('capture.memory');
  const descriptors = captureDescriptors({
    pid,
    pidfd: tools.pidfd,
    threads: frozen.map(({ thread }) => thread.tid),
    inherited: tools.inherited,
  });
  faults.reach('capture.descriptors');
  const main = frozen[0]!;
  const pending = main.status.hex('ShdPnd') === 0n ? [] : ptrace.peekSignals(main.thread.tid, true);
  return {
    platform: capturePlatform(pid, facts, threads[0]!.extendedState),
    process: captureProcess(pid, main.status, answers.own),
    memory: addressSpace,
    signals: { actions: answers.actions, pending },
    timers: { posix: answers.posix, intervals: answers.intervals },
    threads,
    descriptors,
  };
}

/** Asks the process and each thread. */
function interview(
  { pid, faults }: SourceTools,
  frozen: readonly FrozenThread[],
  withMain: (main: Tracee) => void,
): Answers {
  for (const { thread } of frozen) leaveRestartableSequence(thread);
  const main = frozen[0]!.thread;
  const answers = withAgent(main, () => {
    faults.reach('capture.agent-installed');
    const timers = parseTimers(readProc(pid, 'timers'));
    const ofProcess = ask(main, {
      actions: signalActions(main),
      own: ownState(main),
      intervals: intervalTimers(main),
      posix: posixTimers(main, timers),
    });
    faults.reach('capture.process-calls');
    const threads = frozen.map(({ thread }) => askThread(thread));
    faults.reach('capture.thread-calls');
    withMain(main);
    return { ...ofProcess, threads };
  });
  faults.reach('capture.agent-removed');
  return answers;
}

/** Does something with the agent in the process, and takes it out again. */
function withAgent<T>(main: Tracee, run: () => T): T {
  main.installAgent(AGENT_BYTES);
  let result: T;
  try {
    result = run();
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
