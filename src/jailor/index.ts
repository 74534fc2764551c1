/** The face of jailor for daemons. (The program itself is run.ts; a daemon never runs it in its own process.) */
export { type Cleaned, type CleanResult, cleanStale, forgetSandbox, listSandboxes } from './clean.ts';
export { ControlClient } from './control-client.ts';
export type { LogLine } from './log-writer.ts';
export {
  cgroupName,
  DEFAULT_HATCHERY_PID,
  DEFAULT_STATE_DIRECTORY,
  GATEWAY,
  INSIDE_LINK,
  linkName,
  macOf,
  type SandboxPaths,
  sandboxPaths,
  tagOf,
} from './naming.ts';
export { checkMovable } from './permission.ts';
export { memoryLimitOf } from './plan.ts';
export { type StartOptions, startSandbox } from './start.ts';
export type { Exit, ExitReason, Phase, ProcessState, SandboxState } from './state.ts';
export { findSandboxState, readSandboxState } from './state-schema.ts';
