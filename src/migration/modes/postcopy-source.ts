/** Stop, send what is needed at once, go. The rest is read by the destination, from the stopped process, while it runs. */
import { BufferRing, totalLength } from '../chunks.ts';
import type { PageRange } from '../ports.ts';
import type { SourceMode } from '../roles.ts';
import { within } from '../waiting.ts';
import { sendFrozen } from './frozen-out.ts';
import { PAGE_BUFFERS, sendRanges } from './pages-out.ts';
import { sendSketch } from './sketch-out.ts';

export const sendPostcopy: SourceMode['prepare'] = async (before) => {
  const { ports, phases, line, deadlines, signal } = before;
  const { paging } = ports;
  const buffers = new BufferRing(PAGE_BUFFERS, before.chunkBytes);
  before.onEnd('serving no more pages', () => paging.close());
  const server = await within(ports.clock, deadlines.stepMs, 'opening the page server', paging.serve(), { signal });
  await line.send({ type: 'PAGE_SERVER', ...server }, deadlines.stepMs);
  await sendSketch(before);
  phases.enter('capture');
  phases.hush();
  const frozen = await before.freeze();
  let later: readonly PageRange[] = [];
  const prepared = await sendFrozen(before, frozen, {
    buffers,
    pages() {
      const parts = paging.split(frozen);
      later = parts.later;
      return parts.eager;
    },
    behindImage: () => sendRanges(before, 'MISSING', later),
  });
  return {
    ...prepared,
    pageBytes: prepared.pageBytes + totalLength(later),
    process: {
      kill: () => frozen.kill(),
      // What the destination reads from here on is nothing that it may believe.
      async resume() {
        await paging.close();
        await frozen.resume();
      },
    },
  };
};
