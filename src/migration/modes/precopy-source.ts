/** Its memory is sent in rounds while the process runs; it is stopped when little is left, or no less from round to round. */
import { BufferRing } from '../chunks.ts';
import type { SourceMode } from '../roles.ts';
import { sendRounds, startCopying } from './copied-out.ts';
import { listenForReady, sendFrozen } from './frozen-out.ts';
import { PAGE_BUFFERS, sendRanges } from './pages-out.ts';

export const sendPrecopy: SourceMode['prepare'] = async (before) => {
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  const replies = listenForReady(before);
  before.phases.enter('copy');
  try {
    await startCopying(before);
    const copied = await sendRounds(before, buffers, replies);
    before.phases.enter('capture');
    const frozen = await before.freeze();
    const behindImage = (): Promise<void> => sendRanges(before, 'OWN', frozen.ownPages);
    const prepared = await sendFrozen(before, frozen, { pages: () => frozen.pages, buffers, replies, behindImage });
    return { ...prepared, pageBytes: copied.bytes + prepared.pageBytes, rounds: copied.rounds };
  } catch (error) {
    throw await replies.reasonBehind(error, before.ports.clock);
  }
};
