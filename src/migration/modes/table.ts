import type { ModeName } from '../modes.ts';
import type { DestinationMode, SourceMode } from '../roles.ts';
import { receiveReplicated } from './replicated-destination.ts';
import { sendReplicated } from './replicated-source.ts';
import { receiveStopped } from './stopcopy-destination.ts';
import { sendStopped } from './stopcopy-source.ts';

export const SOURCE_MODES: Readonly<Record<ModeName, SourceMode>> = {
  replicated: { prepare: sendReplicated },
  stopcopy: { prepare: sendStopped },
};

export const DESTINATION_MODES: Readonly<Record<ModeName, DestinationMode>> = {
  replicated: { receive: receiveReplicated },
  stopcopy: { receive: receiveStopped },
};
