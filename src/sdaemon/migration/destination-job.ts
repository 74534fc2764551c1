/** The destination's half of a migration, with the real engine, sockets and packets. */
import { identifyProcess } from '../../linux/process-identity.ts';
import { runDestination } from '../../migration/destination.ts';
import type { DestinationPorts, RestoringProcess } from '../../migration/ports.ts';
import { beginRestore } from '../../restore/restoring.ts';
import { endProcess } from '../replication/end-process.ts';
import { SilentCopy } from '../replication/silent-copy.ts';
import { carry } from './carried-error.ts';
import { withFaults } from './faults.ts';
import { packetsOf } from './held-packets.ts';
import type { DestinationJob, JobOutcome } from './job.ts';
import { JournalFiles, UntilAdopted } from './journal-files.ts';
import { NO_REPLAY } from './no-replay.ts';
import { destinationOutcome } from './outcomes.ts';
import { SourceListener } from './state-channel.ts';
import { UNWIRED_PAGING } from './unwired.ts';
import type { JobWorld } from './worker.ts';
import { WORKER_CLOCK } from './worker-clock.ts';

export async function runDestinationJob(
  job: DestinationJob & { stateDirectory: string },
  world: JobWorld,
): Promise<JobOutcome> {
  const { migration, hatcheryPid, skeleton, listen } = job;
  let hostPid = 0;
  try {
    using journal = new JournalFiles(job.stateDirectory);
    using packets = packetsOf(skeleton);
    const copied = { ...skeleton, uncomparedPorts: job.uncomparedPorts };
    using copy = migration.mode === 'replicated' ? new SilentCopy(copied, world.readiness, () => hostPid) : undefined;
    using listener = new SourceListener(listen.address, listen.key, world.readiness);
    const begin = async (image: Uint8Array): Promise<RestoringProcess> => {
      const restoring = beginRestore(image, hatcheryPid, { facts: world.facts, files: world.files });
      hostPid = restoring.pid;
      /** Runs, and may still be ended. */
      let isSilent = false;
      return {
        writePages: (ranges, bytes) => restoring.writePages(ranges, bytes),
        async finish() {
          restoring.finish();
          // From here on the process outlives this daemon: the next one must find it.
          journal.note(migration.id, { hostPid, startTicks: identifyProcess(hostPid)?.startTicks ?? 0 });
        },
        rehearse() {
          restoring.run();
          isSilent = true;
        },
        run: () => restoring.run(),
        destroy: async () => (isSilent ? endProcess(hostPid) : restoring.destroy()),
      };
    };
    const untilAdopted = new UntilAdopted(journal);
    const ports: DestinationPorts = {
      engine: { begin },
      replay: copy ?? NO_REPLAY,
      packets,
      paging: UNWIRED_PAGING,
      accept: (timeoutMs) => listener.accept(timeoutMs),
      ownership: world.ownership,
      journal: untilAdopted,
      clock: WORKER_CLOCK,
    };
    world.post({ type: 'listening', port: listener.port });
    const outcome = await runDestination(withFaults(ports, 'destination', world.faults), migration, {
      deadlines: { totalMs: job.deadlineMs },
      signal: world.signal,
      onProgress: (progress) => world.post({ type: 'progress', progress }),
    });
    // Where it owns, the daemon clears it when jailor has adopted the process.
    if (outcome.outcome === 'discarded' && untilAdopted.isOver) journal.clear(migration.id);
    return destinationOutcome(outcome, hostPid);
  } catch (thrown) {
    // Only what comes before the role can throw: nothing has been built.
    return { outcome: 'discarded', error: carry(thrown), epoch: undefined, leftovers: [] };
  }
}
