/** Ends a migration that an earlier run of the daemon left unfinished: the record at the sdn decides how. */
import { ComicranError } from '../../base/errors.ts';
import { INSIDE_LINK } from '../../jailor/naming.ts';
import { continueQuietly } from '../../linux/continue.ts';
import { sendSignal } from '../../linux/pidfd.ts';
import { identifyProcess, isAlive } from '../../linux/process-identity.ts';
import { SIGNAL } from '../../linux/signals.ts';
import type { DestinationEntry, SourceEntry } from '../../migration/journal.ts';
import type { DestinationPackets, RestoredProcess, SourcePackets, StoppedProcess } from '../../migration/ports.ts';
import { recoverDestination, recoverSource } from '../../migration/recover.ts';
import { EgressCut } from '../../replication/egress-cut.ts';
import { OutputGate } from '../../replication/gate.ts';
import { DrainedSockets } from '../dataplane/drain.ts';
import { carry } from './carried-error.ts';
import { packetsOf } from './held-packets.ts';
import type { JobOutcome, RecoverJob } from './job.ts';
import { JournalFiles, UntilAdopted } from './journal-files.ts';
import { connectAsSource } from './state-channel.ts';
import { UNWIRED_PAGES, UNWIRED_PAGING } from './unwired.ts';
import type { JobWorld } from './worker.ts';
import { WORKER_CLOCK } from './worker-clock.ts';

const GONE_TIMEOUT_MS = 5_000;
const POLL_MS = 2;

/** Where the sandbox itself is gone, its link and what waited there went with it. */
const NO_LINK: DestinationPackets = {
  hold: async () => undefined,
  inject: () => undefined,
  release: async () => ({ held: 0 }),
  discard: async () => undefined,
};

type Recover = RecoverJob & { readonly stateDirectory: string };

/** A process that an earlier daemon left stopped by SIGSTOP. */
function leftProcess(hostPid: number | undefined): StoppedProcess & RestoredProcess {
  const resume = (): void => {
    if (hostPid === undefined) throw new ComicranError('process.gone', 'there is no process that could run');
    continueQuietly(hostPid);
  };
  const kill = async (): Promise<void> => {
    const identity = hostPid === undefined ? undefined : identifyProcess(hostPid);
    if (identity === undefined || !isAlive(identity)) return;
    sendSignal(identity.pid, SIGNAL.KILL);
    for (let waited = 0; isAlive(identity) && waited < GONE_TIMEOUT_MS; waited += POLL_MS) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  };
  return { resume, rehearse: resume, run: resume, kill, destroy: kill };
}

/** A daemon that died in a cutover has left the process cut off. */
function uncutFirst(hostPid: number | undefined, process: StoppedProcess): StoppedProcess {
  return {
    kill: () => process.kill(),
    async resume() {
      if (hostPid !== undefined) {
        using cut = new EgressCut({ pid: hostPid }, INSIDE_LINK);
        cut.restore();
      }
      await process.resume();
    },
  };
}

/** What the gate of a silent copy held has died with its daemon; where there is no process any more it does not matter. */
function openGate(skeleton: RecoverJob['skeleton']): void {
  if (skeleton !== undefined) OutputGate.openAbandoned({ pid: skeleton.initPid, linkName: INSIDE_LINK });
}

/** Where there is no process, nothing waits in its sockets. */
const NO_SOCKETS: SourcePackets = { drain: async () => ({ dropped: 0 }) };

async function endAsSource(job: Recover, entry: SourceEntry, world: JobWorld): Promise<JobOutcome> {
  const { hostPid, channel } = job;
  const { readiness } = world;
  using journal = new JournalFiles(job.stateDirectory);
  const isCopied = entry.migration.mode === 'replicated';
  const recovery = await recoverSource(
    {
      process: isCopied ? uncutFirst(hostPid, leftProcess(hostPid)) : leftProcess(hostPid),
      // What waits in the sockets of a process that was replicated may have been in the log, which is gone.
      packets: hostPid === undefined || isCopied ? NO_SOCKETS : new DrainedSockets(hostPid, { readiness }),
      connect: async (timeoutMs) => {
        if (channel === undefined)
          throw new ComicranError('vm.unreachable', 'it is not known where the destination listened');
        return connectAsSource(channel, readiness, timeoutMs);
      },
      paging: UNWIRED_PAGES,
      ownership: world.ownership,
      journal,
      clock: WORKER_CLOCK,
    },
    entry,
  );
  return { outcome: 'recovered', end: recovery.outcome, leftovers: recovery.leftovers.map((error) => carry(error)) };
}

async function endAsDestination(job: Recover, entry: DestinationEntry, world: JobWorld): Promise<JobOutcome> {
  using packets = job.skeleton === undefined ? undefined : packetsOf(job.skeleton);
  using journal = new JournalFiles(job.stateDirectory);
  const untilAdopted = new UntilAdopted(journal);
  const recovery = await recoverDestination(
    {
      process: leftProcess(job.hostPid),
      packets: packets ?? NO_LINK,
      replay: { discard: async () => openGate(job.skeleton) },
      paging: UNWIRED_PAGING,
      accept: () => new Promise(() => undefined),
      ageMs: journal.ageMs(entry.migration.id),
      ownership: world.ownership,
      journal: untilAdopted,
      clock: WORKER_CLOCK,
    },
    entry,
  );
  if (recovery.outcome === 'discarded' && untilAdopted.isOver) journal.clear(entry.migration.id);
  return { outcome: 'recovered', end: recovery.outcome, leftovers: recovery.leftovers.map((error) => carry(error)) };
}

export function runRecoverJob(job: Recover, world: JobWorld): Promise<JobOutcome> {
  const { entry } = job;
  return entry.side === 'source' ? endAsSource(job, entry, world) : endAsDestination(job, entry, world);
}
