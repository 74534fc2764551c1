/**
 * The process is copied at one moment and goes on; the copy is fed with what goes into the process, and compared with
 * what comes out of it, until it has caught up. Only then is the process cut off, and the log of both ended.
 */
import { ComicranError } from '../../base/errors.ts';
import { BufferRing } from '../chunks.ts';
import { LogSender } from '../log-sender.ts';
import { Replies } from '../replies.ts';
import type { SourceMode } from '../roles.ts';
import { endBehindTake, endLevelled } from './end-of-log.ts';
import { following, lagOf } from './following.ts';
import { CopyAge, Settled } from './level.ts';
import { PAGE_BUFFERS } from './pages-out.ts';
import { sendSnapshot, type TakenSnapshot, takeSnapshot } from './snapshot-out.ts';
import { step } from './step.ts';

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
    const age = new CopyAge(ports.clock.nowMicros());
    const settled = new Settled(age);
    await following(before, log, replies, () => {
      const lag = lagOf(log, replies);
      const nowMicros = ports.clock.nowMicros();
      age.look(nowMicros, log.sent, lag);
      phases.setLag(lag);
      // Before its first report it is not known.
      if (replies.report !== undefined) lagMax = Math.max(lagMax, lag.inputs + lag.outputs);
      return settled.look(nowMicros, lag.inputs + lag.outputs, replies.reports) ? true : undefined;
    });
    await step(before, 'preparing the cut', traffic.prepareCut());
    const { stopped } = ports.process;
    const ending = { log, replies, age };
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
        ? { stop: () => endLevelled(before, ending) }
        : { conclude: () => endBehindTake({ ...before, signal: undefined }, ending) }),
      // Not before: a dozen threads that stop would take the CPUs from its copy. It is cut off for good without that.
      given: async () => {
        await step({ ...before, signal: undefined }, 'stopping the process', ports.process.stop());
      },
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
