/** In modes without a silent copy. */
import { unreachable } from '../../base/assert.ts';
import type { DestinationReplay } from '../../migration/ports.ts';

const never = (): never => unreachable('a replay in a mode without one' as never);

export const NO_REPLAY: DestinationReplay = {
  ...{ shut: never, play: never, step: never, wait: never, rest: never, release: never, open: never },
  discard: async () => undefined,
};
