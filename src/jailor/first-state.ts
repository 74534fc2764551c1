/** What is known of a sandbox before anything of it has been made, and once all of it has. */
import { defined } from '../base/assert.ts';
import { identifyProcess } from '../linux/process-identity.ts';
import type { Construction } from './construction.ts';
import { idMapsOf } from './ids.ts';
import { linkName, tagOf } from './naming.ts';
import { processState } from './process-state.ts';
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

/** @param isCreated the plan was one of a sandbox that waits for its start: what sits in it makes no skeleton of it */
export function madeState(made: Construction, isCreated: boolean): Partial<SandboxState> {
  const init = processState(defined(made.init, 'the init'));
  return {
    files: made.rootFiles ?? null,
    phase: made.process !== undefined ? 'running' : isCreated ? 'created' : 'ready',
    cgroup: made.cgroup ?? null,
    init,
    netns: `/proc/${init.pid}/ns/net`,
    hatchery: made.hatchery === undefined ? null : processState(made.hatchery),
    process: made.process === undefined ? null : processState(made.process),
  };
}
