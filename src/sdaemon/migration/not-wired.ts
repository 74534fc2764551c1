/** Mode `replicated` is not put together yet in this daemon: it is refused before anything is touched. */
import { ComicranError } from '../../base/errors.ts';
import type { DestinationReplay, SourceProcess, SourceTraffic } from '../../migration/ports.ts';

const refuse = (): never => {
  throw new ComicranError('migration.refused', 'this daemon cannot replicate', { hint: 'Use --mode stopcopy.' });
};

export const NOT_WIRED_PROCESS: Pick<SourceProcess, 'snapshot' | 'stop' | 'stopped'> = {
  ...{ snapshot: refuse, stop: refuse },
  stopped: { resume: () => undefined, kill: () => undefined },
};

export const NOT_WIRED_TRAFFIC: SourceTraffic = {
  ...{ start: async () => refuse(), read: refuse, wait: refuse, cut: refuse, finish: refuse },
  ...{ uncut: () => undefined, close: () => undefined },
};

export const NOT_WIRED_REPLAY: DestinationReplay = {
  ...{ shut: async () => refuse(), play: refuse, step: refuse, wait: refuse, release: refuse },
  discard: async () => undefined,
};
