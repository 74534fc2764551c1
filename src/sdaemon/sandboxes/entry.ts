import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Exit, SandboxState } from '../../jailor/state.ts';
import type { Jail } from './jailors.ts';

/**
 * A sandbox as this machine has it.
 *
 *     creating ──► running ◄──► migrating ──► (gone: it runs somewhere else)
 *                     ├──► ending ──► (gone)   it has been told to end
 *                     │
 *     arriving ───────┤                       arriving: the destination of a migration; silent, owned by another
 *        └─► (gone)   └──► stopped            it has ended by itself; kept to be looked at, until forgotten
 */
export type Entry =
  | { readonly state: 'creating'; readonly config: FullConfig }
  | { readonly state: 'running'; readonly config: FullConfig; readonly jail: Jail; readonly epoch: bigint }
  | { readonly state: 'ending'; readonly config: FullConfig; readonly jail: Jail; readonly epoch: bigint }
  | { readonly state: 'migrating'; readonly config: FullConfig; readonly jail: Jail; readonly epoch: bigint }
  | { readonly state: 'arriving'; readonly config: FullConfig; readonly jail: Jail | undefined; readonly epoch: bigint }
  | {
      readonly state: 'stopped';
      readonly config: FullConfig;
      readonly last: SandboxState | undefined;
      readonly exit: Exit;
    };

export type EntryState = Entry['state'];
