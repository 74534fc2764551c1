/** A process that is stopped for good, on its way to the destination: image, pages, END; then READY is waited for. */
import { type BufferRing, totalLength } from '../chunks.ts';
import type { FrozenProcess, PageRange } from '../ports.ts';
import { Replies } from '../replies.ts';
import type { SourceBefore, SourcePrepared } from '../roles.ts';
import { within } from '../waiting.ts';
import { sendImage, sendPages } from './pages-out.ts';

export type FrozenOut = {
  /** Of the process, those that are sent. Asked for when the image is on its way, and the destination has begun to build. */
  readonly pages: () => readonly PageRange[];
  readonly buffers: BufferRing;
  /** Where the destination has been listened to before. */
  readonly replies?: Replies;
  /** Sends what the mode has to say between image and pages. */
  readonly behindImage?: () => Promise<void>;
};

export async function sendFrozen(
  before: SourceBefore,
  frozen: FrozenProcess,
  { buffers, behindImage, ...out }: FrozenOut,
): Promise<SourcePrepared> {
  const { phases, budget, deadlines } = before;
  const replies = out.replies ?? listenForReady(before);
  try {
    phases.enter('image');
    const imageBytes = frozen.image.length;
    await sendImage(before, frozen.image);
    const pages = out.pages();
    const pageBytes = totalLength(pages);
    phases.expectBytes(phases.doneBytes + pageBytes);
    phases.enter('pages');
    await behindImage?.();
    const memory = { pages, readPages: frozen.readPages.bind(frozen) };
    await sendPages(before, memory, buffers, () => replies.orFailure());
    phases.enter('restore');
    const ready = await within(
      before.ports.clock,
      Math.min(budget.remainingMs, deadlines.stepMs),
      `${before.migration.destination}'s READY`,
      replies.untilReady(),
    );
    return {
      ...{ imageBytes, pageBytes, ready, snapshot: undefined },
      process: frozen,
      stop: () => frozen.holdStopped(),
    };
  } catch (error) {
    throw await replies.reasonBehind(error, before.ports.clock);
  }
}

/** To what a destination says that is not followed behind READY. */
export function listenForReady({ line, budget }: SourceBefore): Replies {
  return new Replies(line, { timeoutMs: budget.remainingMs, follow: false });
}
