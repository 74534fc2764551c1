import type { FullConfig } from '../base/sandbox-config.ts';
import type { World } from './construction.ts';
import type { Operation } from './operations.ts';
import type { SandboxState } from './state.ts';

export type SupervisorOptions = {
  readonly stateDirectory: string;
  readonly config: FullConfig;
  readonly plan: readonly Operation[];
  readonly logFds?: World['logFds'];
  /** Inodes of the pipes behind logFds. */
  readonly stdio?: SandboxState['stdio'];
  /** True: configuration, state file and log lie in the directory to be read, also when the sandbox has exited. */
  readonly keepDirectory: boolean;
  /** The plan is one of a sandbox that waits for its start. */
  readonly created?: true;
  /** Restarts of a process that is to come from another machine. */
  readonly restartCount?: number;
  /** Whether the restart policy of the configuration is followed; false: a person sits before it. */
  readonly restarts: boolean;
  /** Called when the sandbox has been taken down and before it counts as exited: its directory is still this jailor's. */
  readonly onTakenDown?: () => Promise<void>;
};
