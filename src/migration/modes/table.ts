import type { ModeName } from '../modes.ts';
import type { DestinationMode, SourceMode } from '../roles.ts';
import { receiveStopped } from './stopcopy-destination.ts';
import { sendStopped } from './stopcopy-source.ts';

export const SOURCE_MODES: Readonly<Record<ModeName, SourceMode>> = {
  stopcopy: { send: sendStopped },
};

export const DESTINATION_MODES: Readonly<Record<ModeName, DestinationMode>> = {
  stopcopy: { receive: receiveStopped },
};
