/** Ends a migration that an earlier run of the daemon left unfinished: the record at the sdn decides how. */
import { ComicranError } from '../../base/errors.ts';
import { resumeStopped } from '../../checkpoint/stop.ts';
import { INSIDE_LINK } from '../../jailor/naming.ts';
import { thawCgroup } from '../../linux/cgroup.ts';
import type { DestinationEntry, SourceEntry } from '../../migration/journal.ts';
import type { DestinationMessage, SourceMessage } from '../../migration/messages.ts';
import type {
  Channel,
  DestinationPackets,
  RestoredProcess,
  SourcePackets,
  SourcePaging,
  StoppedProcess,
} from '../../migration/ports.ts';
import { recoverDestination, recoverSource } from '../../migration/recover.ts';
import { patientDeadlines } from '../../migration/waiting.ts';
import { EgressCut } from '../../replication/egress-cut.ts';
import { OutputGate } from '../../replication/gate.ts';
import { DrainedSockets } from '../dataplane/drain.ts';
import type { Readiness } from '../readiness.ts';
import { carry } from './carried-error.ts';
import { endProcess } from './end-process.ts';
import { explained } from './explained-ports.ts';
import { packetsOf } from './held-packets.ts';
import type { ChannelAddress, JobOutcome, RecoverJob } from './job.ts';
import { JournalFiles, UntilAdopted } from './journal-files.ts';
import { FetchedProcess, NOT_PAGED } from './paged-destination.ts';
import { ServedProcess } from './paged-source.ts';
import { PagingFiles } from './paging-note.ts';
import { connectAsSource, SourceListener } from './state-channel.ts';
import type { JobWorld } from './worker.ts';
import { WORKER_CLOCK } from './worker-clock.ts';

/** Where the sandbox itself is gone, its link and what waited there went with it. */
const NO_LINK: DestinationPackets = {
  hold: async () => undefined,
  inject: () => undefined,
  release: async () => ({ held: 0 }),
  discard: async () => undefined,
};

type Recover = RecoverJob & { readonly stateDirectory: string };

/** A process that an earlier daemon left stopped by SIGSTOP. */
function leftProcess({ hostPid, cgroup }: RecoverJob): StoppedProcess & RestoredProcess {
  const thaw = (): void => {
    if (cgroup !== null) thawCgroup(cgroup);
  };
  const resume = (): void => {
    if (hostPid === undefined) throw new ComicranError('process.gone', 'there is no process that could run');
    thaw();
    resumeStopped(hostPid);
  };
  const kill = async (): Promise<void> => {
    if (hostPid !== undefined) await endProcess(hostPid, thaw);
  };
  return { resume, rehearse: resume, run: resume, kill, destroy: kill };
}

/** A daemon that died in a cutover has left the process cut off. */
function uncutFirst(hostPid: number | undefined, process: StoppedProcess): StoppedProcess {
  return {
    kill: () => process.kill(),
    async resume() {
      if (hostPid !== undefined) EgressCut.restoreAbandoned({ pid: hostPid }, INSIDE_LINK);
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

/** Where there is no process, nothing of it is read. */
const NO_PAGES: SourcePaging = {
  serve: async () => {
    throw new ComicranError('process.gone', 'there is no process that has pages');
  },
  split: () => ({ eager: [], later: [] }),
  close: () => undefined,
};

function pagedOf({ stateDirectory, entry }: Recover, world: JobWorld) {
  const paged = new PagingFiles(stateDirectory, entry.migration.id);
  return { paged, note: (text: string): void => world.post({ type: 'note', text }) };
}

/** What is missing of a process that an earlier daemon has built. */
function fetch(job: Recover, world: JobWorld, pid: number): FetchedProcess {
  const { paged, note } = pagedOf(job, world);
  const process = (): never => {
    throw new ComicranError('process.gone', 'a process of an earlier daemon is not built any more');
  };
  return new FetchedProcess({
    ...{ stateDirectory: job.stateDirectory, sandbox: job.entry.migration.sandbox },
    ...{
      files: paged,
      client: world.paging,
      keeper: world.keeper,
      note,
      pid: () => pid,
      process,
    },
  });
}

async function endAsSource(job: Recover, entry: SourceEntry, world: JobWorld): Promise<JobOutcome> {
  const { hostPid, channel } = job;
  const { readiness } = world;
  using journal = new JournalFiles(job.stateDirectory);
  const isCopied = entry.migration.mode === 'replicated';
  const { paged, note } = pagedOf(job, world);
  const recovery = await recoverSource(
    {
      process: isCopied ? uncutFirst(hostPid, leftProcess(job)) : leftProcess(job),
      // What waits in the sockets of a process that was replicated may have been in the log, which is gone.
      packets: hostPid === undefined || isCopied ? NO_SOCKETS : new DrainedSockets(hostPid, { readiness }),
      connect: async (timeoutMs) => {
        if (channel === undefined)
          throw new ComicranError('vm.unreachable', 'it is not known where the destination listened');
        return connectAsSource(channel, readiness, timeoutMs);
      },
      paging:
        hostPid === undefined
          ? NO_PAGES
          : new ServedProcess({ pid: hostPid, address: job.address, files: paged, client: world.paging, note }),
      ownership: world.ownership,
      journal,
      clock: WORKER_CLOCK,
    },
    entry,
    {
      deadlines: patientDeadlines(job.patience),
      onProgress: (progress) => world.post({ type: 'progress', progress }),
    },
  );
  if (recovery.outcome !== 'halted') paged.remove();
  return { outcome: 'recovered', end: recovery.outcome, leftovers: recovery.leftovers.map((error) => carry(error)) };
}

/** Listens where the daemon before this one did, from when the source is asked for: till then it is refused, and tries again. */
class Returns implements Disposable {
  readonly #where: ChannelAddress | undefined;
  readonly #readiness: Readiness;
  #listener: SourceListener | undefined;

  constructor(where: ChannelAddress | undefined, readiness: Readiness) {
    this.#where = where;
    this.#readiness = readiness;
  }

  /** @throws KernelError EADDRINUSE where somebody else has the port meanwhile */
  async accept(timeoutMs: number): Promise<Channel<DestinationMessage, SourceMessage>> {
    if (this.#where === undefined) throw new ComicranError('vm.unreachable', 'it is not known where it was listened');
    const { address, key, port } = this.#where;
    this.#listener ??= new SourceListener(address, key, this.#readiness, port);
    return this.#listener.accept(timeoutMs);
  }

  [Symbol.dispose](): void {
    this.#listener?.close();
  }
}

async function endAsDestination(job: Recover, entry: DestinationEntry, world: JobWorld): Promise<JobOutcome> {
  using packets = job.skeleton === undefined ? undefined : packetsOf(job.skeleton);
  using journal = new JournalFiles(job.stateDirectory);
  const untilAdopted = new UntilAdopted(journal);
  const { sandbox, destination } = entry.migration;
  const { hostPid } = job;
  const { paged } = pagedOf(job, world);
  using returns = new Returns(job.channel, world.readiness);
  const fetched = paged.read() === undefined || hostPid === undefined ? undefined : fetch(job, world, hostPid);
  const process = leftProcess(job);
  const recovery = await recoverDestination(
    {
      process: {
        ...process,
        async destroy() {
          await process.destroy();
          await fetched?.abandon();
        },
      },
      packets: packets === undefined ? NO_LINK : explained(packets, sandbox, destination),
      replay: { discard: async () => openGate(job.skeleton) },
      paging: fetched ?? NOT_PAGED,
      accept: (timeoutMs) => returns.accept(timeoutMs),
      ageMs: journal.ageMs(entry.migration.id),
      ownership: world.ownership,
      journal: untilAdopted,
      clock: WORKER_CLOCK,
    },
    entry,
    {
      deadlines: patientDeadlines(job.patience),
      onProgress: (progress) => world.post({ type: 'progress', progress }),
      onRunning: (epoch) => world.post({ type: 'running', hostPid: hostPid ?? 0, epoch }),
    },
  );
  if (recovery.outcome !== 'halted') paged.remove();
  if (recovery.outcome === 'discarded' && untilAdopted.isOver) journal.clear(entry.migration.id);
  return { outcome: 'recovered', end: recovery.outcome, leftovers: recovery.leftovers.map((error) => carry(error)) };
}

export function runRecoverJob(job: Recover, world: JobWorld): Promise<JobOutcome> {
  const { entry } = job;
  return entry.side === 'source' ? endAsSource(job, entry, world) : endAsDestination(job, entry, world);
}
