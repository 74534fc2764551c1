/** The destination's half of a migration, with the real engine, sockets and packets. */
import { defined } from '../../base/assert.ts';
import { identifyProcess } from '../../linux/process-identity.ts';
import type { ProcessWatch } from '../../linux/process-watch.ts';
import { runDestination } from '../../migration/destination.ts';
import type { BeginOptions, DestinationPorts, RestoringProcess } from '../../migration/ports.ts';
import { patientDeadlines } from '../../migration/waiting.ts';
import { beginRestore } from '../../restore/begin-restore.ts';
import type { RestoringProcess as Restoring } from '../../restore/restoring.ts';
import { beginSketched, type SketchedProcess } from '../../restore/sketched-process.ts';
import { SilentCopy } from '../replication/silent-copy.ts';
import { ArrivingProcess } from './arriving-process.ts';
import { carry } from './carried-error.ts';
import { explainBeginning, explained } from './explained-ports.ts';
import { withFaults } from './faults.ts';
import { packetsOf } from './held-packets.ts';
import type { DestinationJob, JobOutcome } from './job.ts';
import { JournalFiles, UntilAdopted } from './journal-files.ts';
import { NO_REPLAY } from './no-replay.ts';
import { destinationOutcome } from './outcomes.ts';
import { FetchedProcess, NOT_PAGED } from './paged-destination.ts';
import { PagingFiles } from './paging-note.ts';
import { SourceListener } from './state-channel.ts';
import type { JobWorld } from './worker.ts';
import { WORKER_CLOCK } from './worker-clock.ts';

export async function runDestinationJob(
  job: DestinationJob & { stateDirectory: string },
  world: JobWorld,
): Promise<JobOutcome> {
  const { migration, hatcheryPid, skeleton, listen } = job;
  let hostPid = 0;
  let arriving: ArrivingProcess | undefined;
  try {
    using journal = new JournalFiles(job.stateDirectory);
    using packets = packetsOf(skeleton);
    const copied = { ...skeleton, uncomparedPorts: job.uncomparedPorts, vm: migration.destination };
    const watched = (): ProcessWatch => defined(arriving, 'a process that has been built').watch;
    using copy = migration.mode === 'replicated' ? new SilentCopy(copied, world.readiness, watched) : undefined;
    using listener = new SourceListener(listen.address, listen.key, world.readiness);
    const channel = { ...listen, port: listener.port };
    let restoring: Restoring | undefined;
    const isPaged = migration.mode === 'postcopy';
    const paged = new PagingFiles(job.stateDirectory, migration.id);
    const fetched = isPaged
      ? new FetchedProcess({
          ...{ stateDirectory: job.stateDirectory, sandbox: migration.sandbox, files: paged, client: world.paging },
          keeper: world.keeper,
          pid: () => hostPid,
          process: () => defined(restoring, 'a process that is being built'),
          note: (text) => world.post({ type: 'note', text }),
          end: () => arriving?.watch.ended(),
        })
      : undefined;
    let sketched: SketchedProcess | undefined;
    const forgetSketch = (): void => {
      sketched?.discard();
      sketched = undefined;
    };
    const sketch = (bytes: Uint8Array, { lazy }: BeginOptions): void => {
      sketched = beginSketched(bytes, hatcheryPid, { facts: world.facts, files: world.files, lazy });
      if (lazy) fetched?.keep(sketched.process.userfault);
    };
    const begin = async (image: Uint8Array, { lazy }: BeginOptions): Promise<RestoringProcess> => {
      const before = sketched;
      sketched = undefined;
      const options = { facts: world.facts, files: world.files, lazy };
      const built = before?.become(image) ?? beginRestore(image, hatcheryPid, options);
      restoring = built;
      hostPid = built.pid;
      world.faults.aimAt(hostPid);
      if (lazy && built !== before?.process) fetched?.keep(built.userfault);
      arriving = new ArrivingProcess({
        ...{ built, turn: world.readiness, missingBytes: () => fetched?.missingBytes },
        // From here on the process outlives this daemon: the next one must find it.
        onFinished: () =>
          journal.note(migration.id, { hostPid, startTicks: identifyProcess(hostPid)?.startTicks ?? 0, channel }),
        onDestroyed: () => fetched?.abandon(),
      });
      return arriving;
    };
    const untilAdopted = new UntilAdopted(journal);
    const ports: DestinationPorts = {
      engine: { sketch, forgetSketch, begin },
      replay: copy === undefined ? NO_REPLAY : explained(copy, migration.sandbox, migration.destination),
      packets: explained(packets, migration.sandbox, migration.destination),
      paging: fetched ?? NOT_PAGED,
      accept: (timeoutMs) => listener.accept(timeoutMs),
      ownership: world.ownership,
      journal: untilAdopted,
      clock: WORKER_CLOCK,
    };
    world.post({ type: 'listening', port: listener.port });
    // What follows may take long: the memory of the one, a source that has to be started again of the other.
    const isLong = isPaged || migration.mode === 'replicated';
    const outcome = await runDestination(withFaults(ports, 'destination', world.faults), migration, {
      deadlines: { ...patientDeadlines(job.patience), totalMs: job.deadlineMs },
      signal: world.signal,
      ...(job.keepsCopy ? { ordered: world.ordered } : {}),
      onProgress: (progress) => world.post({ type: 'progress', progress }),
      ...(isLong ? { onRunning: (epoch) => world.post({ type: 'running', hostPid, epoch }) } : {}),
    });
    if (isPaged && outcome.outcome !== 'halted') paged.remove();
    // Where it owns, the daemon clears it when jailor has adopted the process.
    if (outcome.outcome === 'discarded' && untilAdopted.isOver) journal.clear(migration.id);
    return destinationOutcome(outcome, hostPid);
  } catch (thrown) {
    // Only what comes before the role can throw: nothing has been built.
    const error = carry(explainBeginning(migration.sandbox, migration.destination, thrown));
    return { outcome: 'discarded', error, epoch: undefined, leftovers: [] };
  } finally {
    arriving?.watch.close();
  }
}
