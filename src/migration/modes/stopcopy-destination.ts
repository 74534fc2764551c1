/** Build what comes, while it comes. */
import type { RestoredProcess } from '../ports.ts';
import type { DestinationMode, Opened } from '../roles.ts';
import { exchangeReady, receiveProcess } from './pages-in.ts';

export const receiveStopped: DestinationMode['receive'] = async (before) => {
  const { process, ready } = await receiveProcess(before);
  const take = await exchangeReady(before, ready);
  return { ...{ process, take, passDirectly: false }, open: () => openAtOnce(process) };
};

/** Of a process that has not run yet. */
export async function openAtOnce(process: RestoredProcess): Promise<Opened> {
  const running = process.run();
  if (running instanceof Promise) await running;
  return { replayed: 0, compared: 0, released: 0 };
}
