import type { ModeName } from '../modes.ts';
import type { DestinationMode, SourceMode } from '../roles.ts';
import { receivePostcopy } from './postcopy-destination.ts';
import { sendPostcopy } from './postcopy-source.ts';
import { receivePrecopy } from './precopy-destination.ts';
import { sendPrecopy } from './precopy-source.ts';
import { receiveReplicated } from './replicated-destination.ts';
import { sendReplicated } from './replicated-source.ts';
import { receiveStopped } from './stopcopy-destination.ts';
import { sendStopped } from './stopcopy-source.ts';

export const SOURCE_MODES: Readonly<Record<ModeName, SourceMode>> = {
  replicated: { prepare: sendReplicated },
  postcopy: { prepare: sendPostcopy },
  precopy: { prepare: sendPrecopy },
  stopcopy: { prepare: sendStopped },
};

export const DESTINATION_MODES: Readonly<Record<ModeName, DestinationMode>> = {
  replicated: { receive: receiveReplicated },
  postcopy: { receive: receivePostcopy },
  precopy: { receive: receivePrecopy },
  stopcopy: { receive: receiveStopped },
};
