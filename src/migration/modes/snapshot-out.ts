/** The process at one moment, on its way to the destination: it is copied, and runs on. */
import { ComicranError, messageOf } from '../../base/errors.ts';
import { type BufferRing, totalLength } from '../chunks.ts';
import type { Snapshot } from '../ports.ts';
import type { Replies } from '../replies.ts';
import type { SourceBefore } from '../roles.ts';
import type { SnapshotChoice } from '../snapshot-way.ts';
import { type SentRounds, sendRounds, startCopying } from './copied-out.ts';
import { sendEnd, sendImage, sendRanges, sendSomePages } from './pages-out.ts';
import { step } from './step.ts';

export type TakenSnapshot = {
  readonly snapshot: Snapshot;
  /** As it was taken in the end. */
  readonly choice: SnapshotChoice;
  /** What has been sent of it beforehand; undefined: nothing, it was forked. */
  readonly sent: SentRounds | undefined;
};

/** What a process has that is in the way of tracking, and not of a fork; or the kernel lacks. */
const NOT_TRACKED: ReadonlySet<string> = new Set(['needs.kernel', 'process.unsupported', 'process.trace']);

/**
 * Copies the process, with all or little of its memory left to be sent, and begins to watch what goes in and comes out
 * right before. Watching begins behind the rounds: nothing of what they take seconds for is needed.
 */
export async function takeSnapshot(
  before: SourceBefore,
  buffers: BufferRing,
  replies: Replies,
): Promise<TakenSnapshot> {
  const { ports, phases, onEnd } = before;
  const { traffic } = ports;
  let choice = before.snapshot;
  let sent: SentRounds | undefined;
  if (choice.way === 'tracked') {
    phases.enter('copy');
    await step(before, 'looking whether it can be watched', traffic.check());
    choice = await tracking(before, choice);
    if (choice.way === 'tracked') sent = await sendRounds(before, buffers, replies);
  }
  phases.enter('watch');
  onEnd('watching no more', () => traffic.close());
  await step(before, 'beginning to watch', traffic.start());
  phases.enter('capture');
  const taking = ports.process.snapshot();
  onEnd('dropping the snapshot', async () => (await taking.catch(() => undefined))?.close());
  return { snapshot: await step(before, 'taking the snapshot', taking), choice, sent };
}

async function tracking(before: SourceBefore, choice: SnapshotChoice): Promise<SnapshotChoice> {
  try {
    await startCopying(before);
    return choice;
  } catch (error) {
    if (!(error instanceof ComicranError) || !NOT_TRACKED.has(error.code)) throw error;
    const why = `its writes cannot be tracked: ${messageOf(error)}`;
    before.phases.note(why);
    return { way: 'fork', why };
  }
}

/** Image, pages, END; then nothing is left of the copy here. @param between done before each part. */
export async function sendSnapshot(
  before: SourceBefore,
  { snapshot, sent }: TakenSnapshot,
  buffers: BufferRing,
  between: () => Promise<void>,
): Promise<{ readonly imageBytes: number; readonly pageBytes: number }> {
  const { phases } = before;
  phases.enter('image');
  const imageBytes = snapshot.image.length;
  const lastBytes = totalLength(snapshot.pages);
  phases.expectBytes(phases.doneBytes + imageBytes + lastBytes);
  await sendImage(before, snapshot.image);
  phases.enter('pages');
  if (sent !== undefined) await sendRanges(before, 'OWN', snapshot.ownPages);
  await sendSomePages(before, snapshot, buffers, between);
  await before.noteFollowed();
  await sendEnd(before, lastBytes);
  await step(before, 'dropping the snapshot', snapshot.close());
  return { imageBytes, pageBytes: (sent?.bytes ?? 0) + lastBytes };
}
