/** Freezing a control group and waiting for it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cgroup, thawCgroup } from './cgroup.ts';
import { CgroupFreezer } from './cgroup-freezer.ts';

const POLL_MS = 2;

/** Whether every process of the group stands still. */
export function isFrozen({ freezer }: Pick<Cgroup, 'freezer'>): boolean {
  if (freezer.version === 1) return readFileSync(join(freezer.path, 'freezer.state'), 'latin1').trim() === 'FROZEN';
  return /^frozen 1$/m.test(readFileSync(join(freezer.path, 'cgroup.events'), 'latin1'));
}

/** @returns false when the group is not frozen after so long: it runs again then. */
export async function freezeCgroup(cgroup: Cgroup, timeoutMs: number): Promise<boolean> {
  const freezer = new CgroupFreezer(cgroup);
  const untilMs = performance.now() + timeoutMs;
  try {
    for (;;) {
      // Version 1 may have to be told again: one that was being born is missed.
      freezer.freeze();
      if (isFrozen(cgroup)) return true;
      if (performance.now() > untilMs) {
        thawCgroup(cgroup);
        return false;
      }
      await sleep(POLL_MS);
    }
  } finally {
    freezer.close();
  }
}
