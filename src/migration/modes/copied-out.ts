/** Memory that is sent while its process runs, in rounds: all of it, then what has been written since. */
import { type BufferRing, totalLength } from '../chunks.ts';
import type { Replies } from '../replies.ts';
import type { SourceBefore } from '../roles.ts';
import { within } from '../waiting.ts';
import { sendSomePages } from './pages-out.ts';

/** Begins to notice writes, until the migration has ended here: what is noticed behind the last round costs next to nothing. */
export async function startCopying({ ports, deadlines, signal, onEnd }: SourceBefore): Promise<void> {
  const { copying, clock } = ports;
  onEnd('noticing writes no more', () => copying.close());
  await within(clock, deadlines.stepMs, 'beginning to notice writes', copying.start(), { signal });
}

export type SentRounds = {
  readonly rounds: number;
  /** Of the pages of all rounds. */
  readonly bytes: number;
};

/** Behind {@link startCopying}. */
export async function sendRounds(
  before: SourceBefore,
  buffers: BufferRing,
  replies: Pick<Replies, 'orFailure'>,
): Promise<SentRounds> {
  const { ports, budget, phases, signal } = before;
  const { copying, clock } = ports;
  let bytes = 0;
  const making = copying.rounds(async (pages) => {
    bytes += totalLength(pages);
    phases.expectBytes(bytes);
    const memory = { pages, readPages: copying.readPages.bind(copying) };
    await sendSomePages(before, memory, buffers, () => replies.orFailure());
  });
  const rounds = await within(clock, budget.remainingMs, 'copying its memory', making, { signal });
  return { rounds, bytes };
}
