/** A control group for a test. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cgroup,
  cgroupNamed,
  findCgroupTrees,
  makeCgroup,
  removeCgroup,
  thawCgroup,
} from '../../../src/linux/cgroup.ts';
import type { Resident } from './engine.ts';

/** Runs with the resident in a group of its own. Both are gone afterwards. */
export async function withCgroup(resident: Resident, run: (cgroup: Cgroup) => Promise<void>): Promise<void> {
  const cgroup = cgroupNamed(`comicran-test-${process.pid}`, findCgroupTrees())!;
  makeCgroup(cgroup);
  try {
    for (const path of cgroup.paths) writeFileSync(join(path, 'cgroup.procs'), String(resident.pid));
    await run(cgroup);
  } finally {
    thawCgroup(cgroup);
    await resident.cage.remove();
    await removeCgroup(cgroup, 2000);
  }
}
