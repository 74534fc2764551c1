/**
 * The thread of a migration. It owns the traced process (ptrace belongs to the thread that seized it), the state
 * channel's socket and the packet sockets, and blocks in system calls; the daemon's main thread only talks to it.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { defined } from '../../base/assert.ts';
import { FileLooks } from '../../linux/file-digest.ts';
import { type KernelFacts, probeKernel } from '../../linux/kernel-facts.ts';
import { openWake } from '../../linux/wake.ts';
import type { Ownership, OwnershipRecord, TakeoverOrder } from '../../migration/ports.ts';
import { hurry, MOST_HURRIED } from '../hurry.ts';
import type { Keeper } from '../paging/keeper.ts';
import { PagingClient } from '../paging/paging.ts';
import { Readiness } from '../readiness.ts';
import { QuickOwnership } from '../record/quick-ownership.ts';
import { carry, uncarry } from './carried-error.ts';
import { runDestinationJob } from './destination-job.ts';
import { FaultTrigger } from './faults.ts';
import { runInspectJob } from './inspect-job.ts';
import type { FromWorker, Job, JobOutcome, ToWorker, WorkerData } from './job.ts';
import { runRecoverJob } from './recover-job.ts';
import { runSourceJob } from './source-job.ts';
import { warmEngine } from './warm-engine.ts';

/** What a job has of the daemon. */
export type JobWorld = {
  readonly ownership: Ownership;
  readonly signal: AbortSignal;
  /** To a destination that keeps its copy: to take over. */
  readonly ordered: Promise<TakeoverOrder>;
  readonly post: (message: FromWorker) => void;
  /** All waits of this thread for descriptors. */
  readonly readiness: Readiness;
  readonly faults: FaultTrigger;
  readonly facts: KernelFacts;
  /** Files that the engine has looked at: most are the same from one migration to the next. */
  readonly files: FileLooks;
  readonly paging: PagingClient;
  readonly keeper: Keeper;
};

type Pending = PromiseWithResolvers<OwnershipRecord | undefined>;

function serveJobs(port: MessagePort): void {
  // First, so that what is urgent for a moment goes back to this.
  hurry(MOST_HURRIED);
  // The main thread signals it behind each message, for this thread blocks in poll(2) most of the time.
  const wake = openWake();
  const readiness = new Readiness(() => performance.now(), wake);
  let abort = new AbortController();
  let ordered = Promise.withResolvers<TakeoverOrder>();
  let nextId = 1;
  const asked = new Map<number, Pending>();
  const data = workerData as WorkerData;
  const faults = new FaultTrigger(data.fault);
  const paging = new PagingClient(data.paging, wake);
  const facts = probeKernel();
  const files = new FileLooks();
  const post = (message: FromWorker): void => port.postMessage(message);
  const ask = (messageOf: (id: number) => FromWorker): Promise<OwnershipRecord | undefined> => {
    const id = nextId++;
    const pending: Pending = Promise.withResolvers();
    asked.set(id, pending);
    post(messageOf(id));
    return pending.promise;
  };
  const change = async (type: 'take' | 'give', expectedEpoch: bigint): Promise<OwnershipRecord> =>
    defined(await ask((id) => ({ type, id, expectedEpoch })), 'a record in the answer');
  const ownership: Ownership = {
    take: (expectedEpoch) => change('take', expectedEpoch),
    give: (expectedEpoch) => change('give', expectedEpoch),
    takeOver: async (expectedEpoch, order) =>
      defined(await ask((id) => ({ type: 'take-over', id, expectedEpoch, order })), 'a record in the answer'),
    look: () => ask((id) => ({ type: 'look', id })),
    async lead() {
      await ask((id) => ({ type: 'lead', id }));
    },
  };
  const keeper: Keeper = {
    async keep(name, descriptor) {
      await ask((id) => ({ type: 'keep', id, name, descriptor }));
    },
    async drop(name) {
      await ask((id) => ({ type: 'drop', id, name }));
    },
  };
  const start = async (job: Job): Promise<void> => {
    abort = new AbortController();
    ordered = Promise.withResolvers();
    faults.load();
    const note = (reason: string): void => post({ type: 'note', text: `asks the sdn in the ordinary way: ${reason}` });
    const patience = job.side === 'inspect' ? 1 : job.patience;
    using quick = new QuickOwnership(job.record, readiness, ownership, note, patience);
    try {
      const { promise } = ordered;
      const own = { ownership: quick, signal: abort.signal, ordered: promise };
      const world = { ...own, post, readiness, faults, facts, files, paging, keeper };
      post({ type: 'ended', outcome: await runJob(job, world) });
    } catch (thrown) {
      post({ type: 'broken', error: carry(thrown) });
    }
  };
  port.on('message', (message: ToWorker) => {
    switch (message.type) {
      case 'job':
        void start(message.job);
        break;
      case 'abort':
        abort.abort();
        break;
      case 'order':
        ordered.resolve(message.order);
        break;
      default: {
        const pending = asked.get(message.id);
        asked.delete(message.id);
        if (message.type === 'record') pending?.resolve(message.record);
        else pending?.reject(uncarry(message.error));
      }
    }
  });
  post({ type: 'ready', wake });
  try {
    warmEngine(facts, files);
  } catch {
    // The first migration says what is the matter, if it is anything that matters to one.
  }
}

function runJob(job: Job, world: JobWorld): Promise<JobOutcome> {
  switch (job.side) {
    case 'source':
      return runSourceJob(job, world);
    case 'destination':
      return runDestinationJob(job, world);
    case 'recover':
      return runRecoverJob(job, world);
    default:
      return runInspectJob(job);
  }
}

serveJobs(defined(parentPort, 'the port of a worker thread'));
