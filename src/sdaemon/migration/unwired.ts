/** Where the daemon does not have the machinery of a mode yet: refused by name, before the process is touched. */
import { ComicranError } from '../../base/errors.ts';
import type { DestinationPaging, SourceCopying, SourcePaging } from '../../migration/ports.ts';

const refuse = (): never => {
  throw new ComicranError('migration.refused', 'this daemon does not have this mode');
};

export const UNWIRED_COPYING: SourceCopying = {
  start: async () => refuse(),
  rounds: async () => refuse(),
  readPages: refuse,
  close: () => undefined,
};

export const UNWIRED_PAGES: SourcePaging = { serve: async () => refuse(), split: refuse, close: () => undefined };

export const UNWIRED_PAGING: DestinationPaging = { start: async () => refuse(), adopt: async () => refuse() };
