/** Build the process of what is needed at once; the rest is fetched while it runs. */
import { ComicranError } from '../../base/errors.ts';
import type { PageServerMessage } from '../messages.ts';
import type { Fill, PageRange } from '../ports.ts';
import type { DestinationMode } from '../roles.ts';
import { within } from '../waiting.ts';
import { exchangeReady, receiveProcess } from './pages-in.ts';
import { receiveSketch } from './sketch-in.ts';
import { openAtOnce } from './stopcopy-destination.ts';

export const receivePostcopy: DestinationMode['receive'] = async (before) => {
  const { line, phases, ports, deadlines, signal } = before;
  const server: PageServerMessage = await line.expect('PAGE_SERVER', deadlines.stepMs);
  const firstPart = await receiveSketch(before, { lazy: true });
  phases.hush();
  const missing: PageRange[] = [];
  let fill: Fill | undefined;
  const { process, ready } = await receiveProcess(before, {
    lazy: true,
    ...(firstPart === undefined ? {} : { firstPart }),
    also(message) {
      if (message.type === 'MISSING') missing.push(...message.ranges);
      return message.type === 'MISSING';
    },
    async complete() {
      const starting = ports.paging.start(missing, server);
      fill = await within(ports.clock, deadlines.stepMs, 'beginning to fetch its memory', starting, { signal });
    },
  });
  if (fill === undefined) throw new ComicranError('peer.protocol', 'a process without an end');
  const take = await exchangeReady(before, ready);
  // It has had the time of the exchange for it.
  await within(ports.clock, deadlines.stepMs, 'securing what is missing of its memory', fill.secured(), { signal });
  return { ...{ process, take, fill, passDirectly: false }, open: () => openAtOnce(process) };
};
