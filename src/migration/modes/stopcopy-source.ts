/** Stop, send everything. The process is stopped from its first message on. */
import { ComicranError } from '../../base/errors.ts';
import { BufferRing, totalLength } from '../chunks.ts';
import type { ReadyMessage } from '../messages.ts';
import type { SourceBefore, SourceLine, SourceMode } from '../roles.ts';
import { sleep, within } from '../waiting.ts';
import { PAGE_BUFFERS, sendImage, sendPages } from './pages-out.ts';

/** How long a broken connection is listened to for the reason, which the destination has sent before it closed. */
const REASON_MS = 100;

export const sendStopped: SourceMode['prepare'] = async (before) => {
  const { phases, line, budget, deadlines } = before;
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  phases.enter('freeze');
  const frozen = await before.freeze();
  const answer = new Answer(line, budget.remainingMs);
  try {
    phases.enter('image');
    const pageBytes = totalLength(frozen.pages);
    phases.expectBytes(frozen.image.length + pageBytes);
    await sendImage(before, frozen.image);
    phases.enter('pages');
    await sendPages(before, frozen, buffers, () => {
      if (answer.failure !== undefined) throw answer.failure;
    });
    phases.enter('restore');
    const ready = await within(
      before.ports.clock,
      Math.min(budget.remainingMs, deadlines.stepMs),
      `${before.migration.destination}'s READY`,
      answer.ready,
    );
    return {
      imageBytes: frozen.image.length,
      ...{ pageBytes, ready, snapshot: undefined },
      process: frozen,
      stop: () => frozen.holdStopped(),
    };
  } catch (error) {
    throw await answer.reasonBehind(error, before);
  }
};

/** What the destination says while it is being sent to: READY at the end, or why it gives up. */
class Answer {
  readonly ready: Promise<ReadyMessage>;
  failure: unknown;

  constructor(line: SourceLine, timeoutMs: number) {
    this.ready = line.expect('READY', timeoutMs);
    this.ready.catch((error: unknown) => {
      this.failure = error;
    });
  }

  /** A broken connection is the consequence of what the destination said just before, if it said anything. */
  async reasonBehind(error: unknown, { ports }: SourceBefore): Promise<unknown> {
    if (!(error instanceof ComicranError) || error.code !== 'peer.died') return error;
    await Promise.race([this.ready.catch(() => {}), sleep(ports.clock, REASON_MS)]);
    return this.failure ?? error;
  }
}
