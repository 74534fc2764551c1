/**
 * The cutover, at the source: the process is cut off between two of its packets, and its log ended. Behind TAKE that is when
 * the record names the destination already: while the sdn makes up its mind the process answers.
 */
import { ComicranError } from '../../base/errors.ts';
import type { LogSender } from '../log-sender.ts';
import type { DestinationMessage } from '../messages.ts';
import type { LogCount } from '../ports.ts';
import type { Replies } from '../replies.ts';
import type { SourceBefore } from '../roles.ts';
import { Deadline, sleep } from '../waiting.ts';
import { following, LOOK_MS, lagOf } from './following.ts';
import { type CopyAge, isYoung } from './level.ts';
import { step } from './step.ts';

/** What the copy is fed by, and what it says. */
type Feeding = { readonly log: LogSender; readonly replies: Replies; readonly age: CopyAge };

/** Datagrams and answers that the copy may be behind at the cut, where it has not been level for so long. */
const MAX_LAG = 8;
const LEVEL_MICROS = 20_000;
/** The record names a machine that does not answer yet: a copy may be late by more, sooner. */
const HASTE = 4;

/**
 * Behind TAKE, with no signal: nobody can abort it now.
 * @returns what the destination says instead of having taken
 */
export async function endBehindTake(after: SourceBefore, feeding: Feeding): Promise<DestinationMessage | undefined> {
  const { ports, deadlines } = after;
  const { log, age } = feeding;
  const replies = feeding.replies.behindTake(deadlines.stepMs);
  try {
    const budget = new Deadline(ports.clock, deadlines.stepMs);
    let takenMicros: number | undefined;
    const answer = await following({ ...after, budget }, log, replies, () => {
      const now = ports.clock.nowMicros();
      const behind = lagOf(log, replies);
      age.look(now, log.sent, behind);
      if (!replies.taken) return replies.answer;
      takenMicros ??= now;
      const waited = now - takenMicros;
      const lag = behind.inputs + behind.outputs;
      // The copy has to reproduce in the cutover what it is behind by: a moment in which that is nothing comes soon.
      const isLevel = lag === 0 || (waited >= LEVEL_MICROS && (lag <= MAX_LAG || isYoung(age, waited * HASTE)));
      return replies.answer ?? (isLevel ? 'taken' : undefined);
    });
    if (answer !== 'taken') return answer;
  } catch (error) {
    // Its link may have gone with it. Its copy goes on, and needs the rest of the log.
    if (!ports.process.hasEnded()) throw error;
  } finally {
    replies.stop();
  }
  await endLog(after, log);
  return undefined;
}

/** Before TAKE: until the copy has had the whole log, and answered it alike. */
export async function endLevelled(before: SourceBefore, { log, replies }: Feeding): Promise<void> {
  const end = await endLog(before, log);
  const { ports, deadlines } = before;
  const deadline = new Deadline(ports.clock, deadlines.ownedMs);
  for (;;) {
    replies.orFailure();
    const { report } = replies;
    if (report !== undefined && report.injected >= end.inputs && report.compared >= end.outputs) break;
    if (deadline.over)
      throw new ComicranError('replication.lagging', 'the copy did not come to the end of the log in time');
    await Promise.race([replies.next(), sleep(ports.clock, Math.min(LOOK_MS, deadline.remainingMs))]);
  }
  replies.stop();
}

/** @returns how much the log held. The process is not heard any more, and works for nobody: it is to be stopped. */
async function endLog(context: SourceBefore, log: LogSender): Promise<LogCount> {
  const { ports, phases } = context;
  const { process, traffic } = ports;
  await step(context, 'going before others', process.hasten());
  context.noteStop();
  await step(context, 'cutting the process off', traffic.cut());
  phases.mark('cut');
  if (await step(context, 'looking for what has left in part', traffic.isHalfOut())) {
    // What waits would follow, and it must not grow meanwhile.
    await step(context, 'stopping the process', process.stop());
    await step(context, 'stopping the process', process.confirmStop());
    await step(context, 'letting the rest of an answer out', traffic.letOut());
  }
  const end = await step(context, 'reading the rest of the log', traffic.finish());
  phases.mark('read');
  await log.end(end);
  phases.mark('told');
  return end;
}
