/** The source's half of a migration, with the real engine, sockets and packets. */
import { ComicranError } from '../../base/errors.ts';
import { openSource } from '../../checkpoint/source.ts';
import { hasThreads, identifyProcess } from '../../linux/process-identity.ts';
import type { SourcePorts } from '../../migration/ports.ts';
import { runSource } from '../../migration/source.ts';
import { patientDeadlines } from '../../migration/waiting.ts';
import { DrainedSockets } from '../dataplane/drain.ts';
import { RECEIVE_LIMIT_BYTES } from '../dataplane/receive-buffers.ts';
import { WatchedTraffic } from '../replication/watched-traffic.ts';
import { carry } from './carried-error.ts';
import { CopiedProcess } from './copied-source.ts';
import { explainBeginning, explained } from './explained-ports.ts';
import { withFaults } from './faults.ts';
import type { JobOutcome, SourceJob } from './job.ts';
import { JournalFiles } from './journal-files.ts';
import { takeWithRoom } from './memory-needs.ts';
import { sourceOutcome } from './outcomes.ts';
import { ServedProcess } from './paged-source.ts';
import { PagingFiles } from './paging-note.ts';
import { Rehearsal } from './rehearsal.ts';
import { connectAsSource } from './state-channel.ts';
import type { JobWorld } from './worker.ts';
import { WORKER_CLOCK } from './worker-clock.ts';

export async function runSourceJob(job: SourceJob & { stateDirectory: string }, world: JobWorld): Promise<JobOutcome> {
  const { migration, hostPid, route, inherited, written, machineFiles, channel } = job;
  const isPaged = migration.mode === 'postcopy';
  const paged = new PagingFiles(job.stateDirectory, migration.id);
  try {
    const group = job.cgroup === null ? {} : { cgroup: job.cgroup };
    using tracing = new DisposableStack();
    const { facts, files } = world;
    using rehearsal = Rehearsal.start(facts, files);
    const { run: rehearse } = rehearsal;
    const source = tracing.use(openSource(hostPid, { facts, files, inherited, written, rehearse, ...group }));
    const { readiness } = world;
    const identity = identifyProcess(hostPid);
    const hasEnded = (): boolean => identity === undefined || !hasThreads(identity);
    const traffic = new WatchedTraffic({ pid: hostPid, ...route, machineFiles, hasEnded }, readiness);
    const sockets = new DrainedSockets(hostPid, { readiness, route, receiveLimitBytes: RECEIVE_LIMIT_BYTES });
    using journal = new JournalFiles(job.stateDirectory);
    const startTicks = identity?.startTicks ?? 0;
    journal.note(migration.id, { hostPid, startTicks, channel });
    using copying = new CopiedProcess(source, world.facts);
    const watched = explained(traffic, migration.sandbox, migration.source);
    const ports: SourcePorts = {
      process: {
        sketch: () => source.sketch(),
        async freeze() {
          sockets.markFreeze();
          return source.freeze(copying.memory);
        },
        async snapshot() {
          const { memory: copied } = copying;
          const atStop = traffic.mark;
          const snapshot =
            copied === undefined
              ? takeWithRoom(() => source.snapshot({ atStop }), { pid: hostPid, cgroup: job.cgroup, hasEnded })
              : source.snapshot({ atStop, copied });
          source.prepareStop();
          return snapshot;
        },
        hasten: () => source.stopped.hasten(),
        stop() {
          source.stopped.begin();
          // A signal is taken for one that has ended and that nobody has looked at yet.
          if (hasEnded())
            world.post({ type: 'note', text: `process ${hostPid} has ended in the cutover; its copy goes on` });
        },
        async confirmStop() {
          try {
            source.stopped.confirm();
          } catch (thrown) {
            if (!(await endedSoon(hasEnded))) throw thrown;
          }
        },
        hasEnded,
        stopped: source.stopped,
      },
      traffic: watched,
      // What waits in the sockets of a process that is replicated is in the log as well.
      packets: migration.mode === 'replicated' ? watched : explained(sockets, migration.sandbox, migration.source),
      copying,
      paging: new ServedProcess({
        ...{ pid: hostPid, address: job.address, files: paged, client: world.paging },
        note: (text) => world.post({ type: 'note', text }),
      }),
      connect: (timeoutMs) => connectAsSource(channel, readiness, timeoutMs),
      ownership: world.ownership,
      journal,
      clock: WORKER_CLOCK,
    };
    world.faults.aimAt(hostPid);
    const outcome = await runSource(withFaults(ports, 'source', world.faults), migration, {
      deadlines: { ...patientDeadlines(job.patience), totalMs: job.deadlineMs },
      outputRule: job.outputRule,
      mayBeTakenOver: job.mayBeTakenOver,
      snapshot: job.snapshot,
      signal: world.signal,
      onProgress: (progress) => world.post({ type: 'progress', progress }),
    });
    journal.forgetNote(migration.id);
    // To let go of a process that must not run would let it run.
    if (outcome.outcome === 'halted') tracing.move();
    else if (isPaged) paged.remove();
    return sourceOutcome(outcome);
  } catch (thrown) {
    // Only what comes before the role can throw: the process has not been touched.
    const error = carry(explainBeginning(migration.sandbox, migration.source, thrown));
    return { outcome: 'stayed', error, epoch: undefined, ended: isGone(thrown), leftovers: [] };
  }
}

/** Threads that have been killed end within microseconds, but for one that waits for a disk. */
const ENDING_MS = 200;

async function endedSoon(hasEnded: () => boolean): Promise<boolean> {
  for (const untilMs = performance.now() + ENDING_MS; !hasEnded(); ) {
    if (performance.now() > untilMs) return false;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return true;
}

const isGone = (thrown: unknown): boolean => thrown instanceof ComicranError && thrown.code === 'process.gone';
