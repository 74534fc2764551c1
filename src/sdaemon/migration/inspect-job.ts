/** Looks at a process that is to move, before anything is set up for it. */
import { openSource } from '../../checkpoint/source.ts';
import { probeKernel } from '../../linux/kernel-facts.ts';
import { readProc, StatusFile } from '../../linux/procfs.ts';
import { chooseWay } from '../../paging/tracking/choose.ts';
import { carry } from './carried-error.ts';
import type { InspectJob, JobOutcome } from './job.ts';
import { platformOf } from './platform.ts';
import { smallPageBytes } from './snapshot-choice.ts';

/** Changes nothing. The outcome is `stayed`, with the reason, where the process cannot be moved. */
export async function runInspectJob(job: InspectJob): Promise<JobOutcome> {
  try {
    const facts = probeKernel();
    using _source = openSource(job.hostPid, { facts, inherited: job.inherited, written: job.written });
    const residentKib = Number.parseInt(new StatusFile(readProc(job.hostPid, 'status')).text('VmRSS'), 10);
    const smallPages = smallPageBytes(job.hostPid);
    const snapshot = chooseWay(smallPages, facts, job.snapshot);
    const memoryBytes = residentKib * 1024;
    return {
      ...{ outcome: 'inspected', memoryBytes, smallPageBytes: smallPages },
      ...{ platform: platformOf(facts), snapshot, leftovers: [] },
    };
  } catch (thrown) {
    return { outcome: 'stayed', error: carry(thrown), epoch: undefined, leftovers: [] };
  }
}
