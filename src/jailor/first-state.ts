/** What is known of a sandbox before anything of it has been made. */
import { defined } from '../base/assert.ts';
import { identifyProcess } from '../linux/process-identity.ts';
import { idMapsOf } from './ids.ts';
import { linkName, tagOf } from './naming.ts';
import { NO_RESTARTS, type SandboxState } from './state.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

type Known = Pick<SupervisorOptions, 'config' | 'stdio' | 'restartCount'>;

/** @param stateDirectory absolute: names follow from it. */
export function firstState({ config, stdio, restartCount = 0 }: Known, stateDirectory: string): SandboxState {
  const { id, network } = config;
  const tag = tagOf(stateDirectory, id);
  return {
    version: 1,
    id,
    phase: 'starting',
    tag,
    address: network.address,
    startedAtMs: Date.now(),
    jailor: defined(identifyProcess(process.pid), 'this process'),
    link: linkName(tag),
    root: null,
    files: null,
    cgroup: null,
    ids: idMapsOf(config),
    init: null,
    netns: null,
    hatchery: null,
    process: null,
    stdio: stdio ?? null,
    exit: null,
    frozen: false,
    moving: false,
    restarts: { ...NO_RESTARTS, count: restartCount },
    health: null,
    guests: 0,
    kept: [],
  };
}
