/** A process rebuilt in another cage with its memory still at the source, and both ends of paging between them. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FrozenSource } from '../../../src/checkpoint/frozen.ts';
import type { Source } from '../../../src/checkpoint/source.ts';
import { decodeProcessImage } from '../../../src/image/codec.ts';
import type { PageRun } from '../../../src/paging/page-range.ts';
import { pageRuns } from '../../../src/paging/page-range.ts';
import type { ServiceCounts } from '../../../src/paging/service-times.ts';
import { beginRestore } from '../../../src/restore/begin-restore.ts';
import { splitPages } from '../../../src/restore/lazy-areas.ts';
import type { RestoringProcess } from '../../../src/restore/restoring.ts';
import type { PageServerAddress } from '../../../src/sdaemon/paging/fault-session.ts';
import {
  type PageServing,
  type Paging,
  PagingClient,
  type PagingOptions,
  PagingThread,
} from '../../../src/sdaemon/paging/paging.ts';
import { Cage } from '../../engine/support/cage.ts';
import { facts, files, open } from '../../engine/support/engine.ts';

export const LOOPBACK = Buffer.from([127, 0, 0, 1]);

/** So slow that the process does most of its work before its memory is there. */
export const SLOWLY = { service: { fillChunk: 1, fillWindow: 1, cluster: { min: 1, max: 4 } } };

/** Frozen source, restored copy; the copy is complete but for its lazy pages, stopped, and nobody serves it yet. */
export class LazyCopy {
  readonly source: Source;
  readonly frozen: FrozenSource;
  readonly restoring: RestoringProcess;
  readonly missing: readonly PageRun[];
  readonly eagerBytes: number;
  readonly restoreMs: number;

  constructor(pid: number, hatchery: number) {
    this.source = open(pid);
    this.frozen = this.source.freeze();
    const { eager, lazy } = splitPages(decodeProcessImage(this.frozen.image), this.frozen.pages);
    const bytes = Buffer.allocUnsafeSlow(eager.reduce((sum, { length }) => sum + length, 0));
    this.frozen.readPages(eager, bytes);
    this.eagerBytes = bytes.length;
    this.missing = pageRuns(lazy);
    const begun = performance.now();
    this.restoring = beginRestore(this.frozen.image, hatchery, { facts, files, lazy: true });
    this.restoring.writePages(eager, bytes);
    this.restoring.finish(lazy.reduce((sum, { length }) => sum + BigInt(length), 0n));
    this.restoreMs = performance.now() - begun;
  }
}

/** Both ends of paging in this program, each in a thread of its own. */
export class PagingLab {
  readonly directory = mkdtempSync(join(tmpdir(), 'comicran-paging-'));
  readonly #threads: PagingThread[];
  readonly destination: PagingClient;
  readonly source: PagingClient;
  readonly troubles: Error[] = [];
  #journals = 0;

  private constructor(threads: PagingThread[]) {
    this.#threads = threads;
    this.destination = new PagingClient(threads[0]!.newPort());
    this.source = new PagingClient(threads[1]!.newPort());
  }

  static async make(): Promise<PagingLab> {
    return new PagingLab([await PagingThread.start(), await PagingThread.start()]);
  }

  newJournal(): string {
    return join(this.directory, `journal-${this.#journals++}`);
  }

  /** Serves the pages of a process that does not run. */
  async serve(
    pid: number,
    listen: PageServerAddress = newAddress(),
  ): Promise<{ serving: PageServing; server: PageServerAddress; done: Promise<void> }> {
    const over = Promise.withResolvers<void>();
    over.promise.catch(() => undefined);
    const serving = await this.source.servePages({ pid, listen, onDone: over.resolve, onFailure: over.reject });
    return { serving, server: { ...listen, port: serving.port }, done: over.promise };
  }

  /** @returns when faults are served; `done`: everything is in. */
  async page(
    copy: LazyCopy,
    server: PageServerAddress,
    options: Partial<PagingOptions> = {},
  ): Promise<{ paging: Paging; done: Promise<ServiceCounts> }> {
    const over = Promise.withResolvers<ServiceCounts>();
    over.promise.catch(() => undefined);
    const paging = await this.destination.startPaging({
      server,
      userfault: copy.restoring.takeUserfault(),
      journal: this.newJournal(),
      missing: copy.missing,
      onDone: over.resolve,
      onFailure: over.reject,
      onEnded: () => over.reject(new Error('the process has ended')),
      onTrouble: (error) => this.troubles.push(error),
      ...options,
    });
    return { paging, done: over.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const thread of this.#threads) await thread.close();
    rmSync(this.directory, { recursive: true });
  }
}

export function newAddress(): PageServerAddress {
  return { address: LOOPBACK, port: 0, key: randomBytes(32) };
}

/** A program in one cage, its lazy copy in another one. */
export class Moved {
  readonly from: Cage;
  readonly to: Cage;
  readonly pid: number;
  readonly copy: LazyCopy;

  private constructor(from: Cage, to: Cage, pid: number, copy: LazyCopy) {
    this.from = from;
    this.to = to;
    this.pid = pid;
    this.copy = copy;
  }

  /** @param ready waits until the program can be moved. */
  static async make(argv: readonly string[], ready: (cage: Cage) => Promise<unknown>): Promise<Moved> {
    const from = await Cage.make();
    let to: Cage | undefined;
    try {
      const pid = await from.start(argv);
      await ready(from);
      to = await Cage.make();
      return new Moved(from, to, pid, new LazyCopy(pid, await to.hatchery()));
    } catch (error) {
      await from.remove();
      await to?.remove();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.copy.source.close();
    await this.to.remove();
    await this.from.remove();
  }
}
