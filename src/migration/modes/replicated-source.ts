/**
 * The process is copied at one moment and goes on; the copy is fed with what goes into the process, and compared with
 * what comes out of it, until it has caught up. Only then is the process stopped, and the log of both ended.
 */
import { ComicranError, messageOf } from '../../base/errors.ts';
import { BufferRing } from '../chunks.ts';
import { LogSender } from '../log-sender.ts';
import type { LogCount } from '../ports.ts';
import { Replies } from '../replies.ts';
import type { SourceBefore, SourceMode } from '../roles.ts';
import { abortedError, Deadline, sleep } from '../waiting.ts';
import { PAGE_BUFFERS } from './pages-out.ts';
import { sendSnapshot, type TakenSnapshot, takeSnapshot } from './snapshot-out.ts';
import { step } from './step.ts';

/** Longest wait for something to log before the copy's reports are looked at. */
const LOOK_MS = 2;
/** Datagrams that the copy may be behind when the process is stopped: it catches up with them in the stop. */
const MAX_LAG = 4;
/** How long it must not have been further behind. */
const SETTLED_MICROS = 5_000;
const MIN_REPORTS = 2;

export const sendReplicated: SourceMode['prepare'] = async (before) => {
  const { ports, phases, line, budget, deadlines, migration } = before;
  const { traffic } = ports;
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  const log = new LogSender(line, traffic, deadlines.stepMs);
  const replies = new Replies(line, { timeoutMs: budget.remainingMs, follow: true });
  let taken: TakenSnapshot | undefined;
  try {
    taken = await takeSnapshot(before, buffers, replies);
    const { snapshot, choice, sent } = taken;
    const bytes = await sendSnapshot(before, taken, buffers, async () => {
      replies.orFailure();
      await log.pump();
    });
    phases.enter('restore');
    const ready = await following(before, log, replies, () => replies.ready);
    phases.enter('follow');
    let lagMax = 0;
    const settled = new Settled(() => ports.clock.nowMicros());
    await following(before, log, replies, () => {
      const { report } = replies;
      const lag = {
        inputs: log.sent.inputs - (report?.injected ?? 0),
        outputs: log.sent.outputs - (report?.compared ?? 0),
      };
      phases.setLag(lag);
      // Before its first report it is not known.
      if (report !== undefined) lagMax = Math.max(lagMax, lag.inputs + lag.outputs);
      return settled.look(lag.inputs + lag.outputs, replies.reports) ? true : undefined;
    });
    const { stopped } = ports.process;
    const stop = (): Promise<void> => step(before, 'stopping the process', ports.process.stop());
    const endLog = async (): Promise<LogCount> => {
      await step(before, 'stopping the process', ports.process.confirmStop());
      phases.mark('stopped');
      await step(before, 'cutting the process off', traffic.cut());
      phases.mark('cut');
      const end = await step(before, 'reading the rest of the log', traffic.finish());
      phases.mark('read');
      await log.pump(end);
      await line.send({ type: 'LOG_END', ...end }, deadlines.stepMs);
      phases.mark('told');
      // The stop holds without it, as long as nobody sends SIGCONT.
      await step(before, 'securing the stop', ports.process.secureStop()).catch((error: unknown) =>
        phases.note(messageOf(error)),
      );
      return end;
    };
    return {
      ...{ ...bytes, ready, snapshot: { freezeMicros: snapshot.freezeMicros, lagMax, choice } },
      ...(sent === undefined ? {} : { rounds: sent.rounds }),
      process: {
        kill: () => stopped.kill(),
        async resume() {
          await traffic.uncut();
          await stopped.resume();
        },
      },
      ...(before.outputRule
        ? { stop: async () => levelled(before, replies, await stop().then(endLog)) }
        : { stop, conclude: async () => void (await endLog()) }),
    };
  } catch (error) {
    const lag = replies.ready === undefined ? '' : `; the copy was ${log.lagBehind(replies.report)} behind`;
    if (taken !== undefined && error instanceof ComicranError && error.code === 'deadline' && budget.over)
      throw new ComicranError('replication.lagging', `${migration.destination} did not catch up in time${lag}`, {
        cause: error,
        hint: 'Try again with less load or a longer --deadline, or with another mode.',
      });
    throw await replies.reasonBehind(error, ports.clock);
  } finally {
    // With the output rule the last reports come when the process has been stopped.
    if (!before.outputRule) replies.stop();
  }
};

/** Until the copy has had the whole log, and answered it alike. */
async function levelled({ ports, deadlines }: SourceBefore, replies: Replies, end: LogCount): Promise<void> {
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

/** Logs and looks, until there is what is looked for. */
async function following<Found>(
  { ports, budget, signal }: SourceBefore,
  log: LogSender,
  replies: Replies,
  look: () => Found | undefined,
): Promise<Found> {
  for (;;) {
    if (signal?.aborted) throw abortedError();
    if (budget.over) throw new ComicranError('deadline', 'time was up');
    replies.orFailure();
    await log.pump();
    const found = look();
    if (found !== undefined) return found;
    await Promise.race([ports.traffic.wait(Math.min(LOOK_MS, budget.remainingMs)), replies.next()]);
  }
}

/** Whether the copy has been level for long enough. */
class Settled {
  readonly #nowMicros: () => number;
  #sinceMicros: number | undefined;
  #sinceReports = 0;

  constructor(nowMicros: () => number) {
    this.#nowMicros = nowMicros;
  }

  /** @param reports how many have come */
  look(lag: number, reports: number): boolean {
    if (lag > MAX_LAG || reports === 0) {
      this.#sinceMicros = undefined;
      return false;
    }
    if (this.#sinceMicros === undefined) {
      this.#sinceMicros = this.#nowMicros();
      this.#sinceReports = reports;
    }
    return (
      this.#nowMicros() - this.#sinceMicros >= SETTLED_MICROS &&
      (lag === 0 || reports - this.#sinceReports >= MIN_REPORTS)
    );
  }
}
