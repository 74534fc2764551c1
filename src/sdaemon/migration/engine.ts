/** Worker threads that carry out migrations: one a migration at a time, kept for the next one, so that their code is warm. */
import { Worker } from 'node:worker_threads';
import { Cleanup } from '../../base/cleanup.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { signalWake } from '../../linux/wake.ts';
import type { Ownership, OwnershipRecord, TakeoverOrder } from '../../migration/ports.ts';
import type { Keeper } from '../paging/keeper.ts';
import type { PagingPort, PagingThread } from '../paging/paging.ts';
import { carry, uncarry } from './carried-error.ts';
import type { FaultSource } from './faults.ts';
import type { FromWorker, Job, JobOutcome, JobProgress, ToWorker, WorkerData } from './job.ts';

/** What a job needs from the main thread while it runs. */
export type JobCalls = Partial<Ownership> & {
  /** A destination that keeps its copy is to take over. */
  readonly ordered?: Promise<TakeoverOrder>;
  readonly onProgress?: (progress: JobProgress) => void;
  /** A destination waits for its source at this TCP port. */
  readonly onListening?: (port: number) => void;
  /** A destination's process runs, and its memory is still coming. */
  readonly onRunning?: (hostPid: number, epoch: bigint) => void;
  /** Where the destination's process runs: its jailor. */
  readonly keeper?: Keeper;
  readonly signal?: AbortSignal;
  /** What is worth a line in the log. */
  readonly onNote?: (text: string) => void;
};

/** A worker thread, and the descriptor that ends its wait for other descriptors; -1 until it has told it. */
class MigrationWorker {
  readonly thread: Worker;
  #wake = -1;

  constructor(fault: FaultSource | undefined, paging: PagingPort) {
    const data: WorkerData = { fault, paging };
    // Descriptors come from system calls, not from Node: it must not close or complain about them.
    this.thread = new Worker(WORKER, { trackUnmanagedFds: false, workerData: data, transferList: [paging.port] });
    this.thread.on('message', (message: FromWorker) => {
      if (message.type === 'ready') this.#wake = message.wake;
    });
  }

  post(message: ToWorker): void {
    this.thread.postMessage(message);
    if (this.#wake >= 0) signalWake(this.#wake);
  }

  async end(): Promise<void> {
    await this.thread.terminate();
    if (this.#wake >= 0) closeDescriptor(this.#wake);
    this.#wake = -1;
  }
}

const WORKER = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

export class Engine {
  readonly #idle: MigrationWorker[] = [];
  readonly #busy = new Set<MigrationWorker>();
  readonly #fault: FaultSource | undefined;
  readonly #paging: PagingThread;
  #closed = false;

  /** @param fault for tests: where the migration worker fails. */
  constructor(fault: FaultSource | undefined, paging: PagingThread) {
    this.#fault = fault;
    this.#paging = paging;
  }

  #newWorker(): MigrationWorker {
    return new MigrationWorker(this.#fault, this.#paging.newPort());
  }

  /** Starts a worker in advance: loading its code takes longer than a migration. */
  warm(): void {
    if (this.#idle.length === 0) this.#idle.push(this.#newWorker());
    for (const worker of this.#idle) worker.thread.unref();
  }

  /** Carries out a job to its end. @throws only where the worker itself broke; every other end is an outcome. */
  async run(job: Job, calls: JobCalls): Promise<JobOutcome> {
    const worker = this.#idle.pop() ?? this.#newWorker();
    this.#busy.add(worker);
    const cleanup = new Cleanup();
    const { promise, resolve, reject } = Promise.withResolvers<JobOutcome>();
    const listen = <Argument>(event: 'message' | 'error' | 'exit', handler: (argument: Argument) => void): void => {
      worker.thread.on(event, handler);
      cleanup.defer(event, () => void worker.thread.off(event, handler));
    };
    listen('message', (message: FromWorker) => {
      switch (message.type) {
        case 'listening':
          calls.onListening?.(message.port);
          break;
        case 'running':
          calls.onRunning?.(message.hostPid, message.epoch);
          break;
        case 'note':
          calls.onNote?.(message.text);
          break;
        case 'progress':
          calls.onProgress?.(message.progress);
          break;
        case 'take':
          void answer(message.id, () => calls.take?.(message.expectedEpoch));
          break;
        case 'give':
          void answer(message.id, () => calls.give?.(message.expectedEpoch));
          break;
        case 'take-over':
          void answer(message.id, () => calls.takeOver?.(message.expectedEpoch, message.order));
          break;
        case 'look':
          void answer(message.id, () => calls.look?.());
          break;
        case 'lead':
          void answer(message.id, () => calls.lead?.().then(() => undefined));
          break;
        case 'keep':
          void answer(message.id, () => calls.keeper?.keep(message.name, message.descriptor).then(() => undefined));
          break;
        case 'drop':
          void answer(message.id, () => calls.keeper?.drop(message.name).then(() => undefined));
          break;
        case 'ended':
          resolve(message.outcome);
          break;
        case 'broken':
          reject(uncarry(message.error));
          break;
        default: // ready
      }
    });
    const answer = async (id: number, ask: () => Promise<OwnershipRecord | undefined> | undefined): Promise<void> => {
      try {
        const asked = ask();
        if (asked === undefined) throw new Error('this job may not ask for that');
        worker.post({ type: 'record', id, record: await asked });
      } catch (thrown) {
        worker.post({ type: 'no-record', id, error: carry(thrown) });
      }
    };
    listen('error', reject);
    listen('exit', (code: number) => reject(new Error(`the migration worker ended with code ${code}`)));
    const abort = (): void => worker.post({ type: 'abort' });
    calls.signal?.addEventListener('abort', abort, { once: true });
    cleanup.defer('abort', () => calls.signal?.removeEventListener('abort', abort));
    worker.thread.ref();
    worker.post({ type: 'job', job });
    if (calls.signal?.aborted) abort();
    let broken = true;
    let isOver = false;
    void calls.ordered?.then((order) => {
      // The thread may have another job by then.
      if (!isOver) worker.post({ type: 'order', order });
    });
    try {
      const outcome = await promise;
      broken = false;
      return outcome;
    } finally {
      isOver = true;
      await cleanup.run();
      this.#busy.delete(worker);
      // One that broke may hold a traced process: ending the thread lets it go.
      if (broken || this.#closed) await worker.end();
      else {
        worker.thread.unref();
        this.#idle.push(worker);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#idle.splice(0), ...this.#busy].map((worker) => worker.end()));
  }
}
