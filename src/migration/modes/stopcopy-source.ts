/** Stop, send everything. The process is stopped from its first message on. */
import { BufferRing } from '../chunks.ts';
import type { SourceMode } from '../roles.ts';
import { sendFrozen } from './frozen-out.ts';
import { PAGE_BUFFERS } from './pages-out.ts';

export const sendStopped: SourceMode['prepare'] = async (before) => {
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  before.phases.enter('capture');
  const frozen = await before.freeze();
  return sendFrozen(before, frozen, { pages: () => frozen.pages, buffers });
};
