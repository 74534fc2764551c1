/** Its memory is sent in rounds while the process runs; it is stopped when little is left, or no less from round to round. */
import { BufferRing, totalLength } from '../chunks.ts';
import type { SourceBefore, SourceMode } from '../roles.ts';
import { within } from '../waiting.ts';
import { Answer } from './answer.ts';
import { sendFrozen } from './frozen-out.ts';
import { PAGE_BUFFERS, sendRanges, sendSomePages } from './pages-out.ts';

export const sendPrecopy: SourceMode['prepare'] = async (before) => {
  const { phases, line, budget } = before;
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  const answer = new Answer(line, budget.remainingMs);
  phases.enter('copy');
  try {
    const copied = await copyRounds(before, buffers, answer);
    phases.enter('capture');
    const frozen = await before.freeze();
    const behindImage = (): Promise<void> => sendRanges(before, 'OWN', frozen.ownPages);
    const prepared = await sendFrozen(before, frozen, { pages: () => frozen.pages, buffers, answer, behindImage });
    return { ...prepared, pageBytes: copied.bytes + prepared.pageBytes, rounds: copied.rounds };
  } catch (error) {
    throw await answer.reasonBehind(error, before);
  }
};

/** @returns how many rounds there were, and how many bytes of pages in all of them */
export async function copyRounds(
  before: SourceBefore,
  buffers: BufferRing,
  answer: Pick<Answer, 'orFailure'>,
): Promise<{ readonly rounds: number; readonly bytes: number }> {
  const { ports, budget, deadlines, phases, signal } = before;
  const { copying, clock } = ports;
  before.onEnd('noticing writes no more', () => copying.close());
  await within(clock, deadlines.stepMs, 'beginning to notice writes', copying.start(), { signal });
  let bytes = 0;
  const making = copying.rounds(async (pages) => {
    bytes += totalLength(pages);
    phases.expectBytes(bytes);
    const memory = { pages, readPages: copying.readPages.bind(copying) };
    await sendSomePages(before, memory, buffers, () => answer.orFailure());
  });
  const rounds = await within(clock, budget.remainingMs, 'copying its memory', making, { signal });
  return { rounds, bytes };
}
