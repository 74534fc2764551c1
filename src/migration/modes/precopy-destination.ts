/** Keeps what comes while the process runs at the source, and builds it of that and of what was written last. */
import type { DestinationMode } from '../roles.ts';
import { receiveCopied } from './copied-in.ts';
import { exchangeReady } from './pages-in.ts';
import { openAtOnce } from './stopcopy-destination.ts';

export const receivePrecopy: DestinationMode['receive'] = async (before) => {
  const { process, ready } = await receiveCopied(before);
  const take = await exchangeReady(before, ready);
  return { ...{ process, take, passDirectly: false }, open: () => openAtOnce(process) };
};
