import type { FullConfig } from '../../base/sandbox-config.ts';
import { memoryLimitOf } from '../../jailor/index.ts';
import { lowerMemoryLimit } from '../../linux/cgroup-memory-limit.ts';
import type { Log } from '../log.ts';
import type { Jail } from './jailors.ts';

/** Of a sandbox whose limit was raised for the clone of a snapshot, when that is over; without effect on any other. */
export async function putMemoryLimitBack(jail: Jail, config: FullConfig, log: Log): Promise<void> {
  const { cgroup } = jail.state();
  if (cgroup === null || (await lowerMemoryLimit(cgroup, memoryLimitOf(config)))) return;
  log(`${jail.id}: its limit of memory could not be put back: it uses more`);
}
