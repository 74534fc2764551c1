import { identifyProcess, namespacePids } from '../linux/process-identity.ts';
import type { Child } from './child.ts';
import type { ProcessState } from './state.ts';

/** Of a child that has not been reaped. */
export function processState(child: Pick<Child, 'hostPid'>): ProcessState {
  const identity = identifyProcess(child.hostPid) ?? { pid: child.hostPid, startTicks: 0 };
  return { ...identity, innerPid: namespacePids(child.hostPid).at(-1) ?? 0 };
}
