/** The destination of a `postcopy` migration: what is missing of its process is fetched by the paging thread. */
import { setTimeout as pause } from 'node:timers/promises';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { ipv4Bytes, ipv4Text } from '../../base/ipv4.ts';
import type { ProcessEnd } from '../../base/process-end.ts';
import type { ProcessImage } from '../../image/types.ts';
import { findSandboxState } from '../../jailor/index.ts';
import type { DestinationPaging, Fill, FillCounts, PageRange, PageServer } from '../../migration/ports.ts';
import { likelyPages } from '../../paging/likely-pages.ts';
import { pageRuns } from '../../paging/page-range.ts';
import type { ServiceCounts } from '../../paging/service-times.ts';
import { hasEnded } from '../../restore/failures.ts';
import type { PageServerAddress } from '../paging/fault-session.ts';
import { type Keeper, takeKept } from '../paging/keeper.ts';
import type { Paging, PagingClient, PagingOptions } from '../paging/paging.ts';
import type { PagingFiles } from './paging-note.ts';

/** The process that misses pages; made later than its paging. */
export type LazyProcess = {
  /** Gives its userfaultfd away. */
  takeUserfault(): number;
  /** What it is built of. */
  readonly image: ProcessImage;
};

export type FetchedProcessOptions = {
  readonly stateDirectory: string;
  readonly sandbox: string;
  readonly files: PagingFiles;
  readonly client: PagingClient;
  /** The jailor of the sandbox. */
  readonly keeper: Keeper;
  readonly pid: () => number;
  /** Asked only where its memory begins to come, and not where that goes on. */
  readonly process: () => LazyProcess;
  readonly note: (text: string) => void;
  /** How the process has ended, where that can still be seen. */
  readonly end?: () => ProcessEnd | undefined;
};

export class FetchedProcess implements DestinationPaging {
  readonly #options: FetchedProcessOptions;
  readonly #ended = Promise.withResolvers<FillCounts>();
  #starting: Promise<Paging> | undefined;
  #missingBytes = 0n;
  /** The jailor has the userfaultfd, and the next daemon will find what it needs. */
  #secured: Promise<unknown> = Promise.resolve();
  #keeping: Promise<void> | undefined;

  constructor(options: FetchedProcessOptions) {
    this.#options = options;
    this.#ended.promise.catch(() => undefined);
  }

  /** Of pages that need not be there when the process is finished. */
  get missingBytes(): bigint {
    return this.#missingBytes;
  }

  /**
   * As soon as there is a userfaultfd: a third program has to have its turn for it. It takes the place of one that was kept
   * before.
   */
  keep(userfault: number): void {
    const { keeper, files } = this.#options;
    const before = (this.#keeping ?? Promise.resolve()).catch(() => undefined);
    this.#keeping = before.then(() => keeper.keep(files.missing, userfault));
    this.#keeping.catch(() => undefined);
  }

  async start(missing: readonly PageRange[], { address, port, key }: PageServer): Promise<Fill> {
    const { files, client, process } = this.#options;
    files.write({ pages: { address: ipv4Text(address), port, key } });
    this.#missingBytes = missing.reduce((sum, { length }) => sum + BigInt(length), 0n);
    const built = process();
    const options = this.#paged({ address: Buffer.from(address), port, key });
    const userfault = built.takeUserfault();
    const service = { likely: likelyPages(built.image) };
    this.#starting = client.startPaging({
      ...options,
      userfault,
      service,
      missing: pageRuns(missing),
      fillsLater: true,
    });
    // Nobody waits for it here: the process can be finished meanwhile.
    this.#secured = Promise.all([this.#starting, this.#keeping]);
    this.#secured.catch(() => undefined);
    return this.#fill();
  }

  async adopt(): Promise<Fill> {
    const { files, client, stateDirectory, sandbox } = this.#options;
    const pages = files.read()?.pages;
    const state = findSandboxState(stateDirectory, sandbox);
    if (state === undefined) throw new ComicranError('process.gone', `there is no sandbox '${sandbox}'`);
    const kept = takeKept(state, files.missing);
    // Whoever kept it has closed it when nothing was missing any more.
    if (kept === undefined) this.#ended.resolve(NOTHING);
    else {
      if (pages === undefined) throw new ComicranError('migration.journal', 'it is not known where its pages are');
      const server = { address: Buffer.from(ipv4Bytes(pages.address)), port: pages.port, key: pages.key };
      this.#starting = client.adoptPaging({ ...this.#paged(server), ...kept });
    }
    return this.#fill();
  }

  #paged(server: PageServerAddress): Omit<PagingOptions, 'missing' | 'userfault'> {
    const { files, keeper, note, pid } = this.#options;
    return {
      ...{ server, pid: pid(), journal: files.missing },
      keeper: {
        keep: async (name, descriptor) => {
          if (name !== files.missing) await keeper.keep(name, descriptor);
        },
        drop: async (name) => {
          await this.#keeping?.catch(() => undefined);
          await keeper.drop(name);
        },
      },
      onDone: (counts) => this.#ended.resolve(fillCounts(counts)),
      onEnded: () => void this.#howItEnded().then((ended) => this.#ended.resolve({ ...NOTHING, ended })),
      onFailure: (error) => this.#ended.reject(error),
      onTrouble: (error) => note(`fetching its memory: ${messageOf(error)}`),
    };
  }

  #fill(): Fill {
    return {
      secured: () => this.#untilSecured(),
      fetchAll: () => void this.#starting?.then((paging) => paging.fill()).catch(() => undefined),
      filled: () => this.#ended.promise,
      missingPages: async () => (await (await this.#starting)?.counts())?.missingPages ?? 0,
    };
  }

  /** One that has ended has no userfaultfd that could be kept, and nobody says so to whoever waits for that. */
  async #untilSecured(): Promise<void> {
    let isOver = false;
    const { end } = this.#options;
    const untilEnded = async (): Promise<void> => {
      for (; !isOver; await pause(END_LOOK_MS)) this.#checkAlive();
    };
    try {
      await (end === undefined ? this.#secured : Promise.race([this.#secured, untilEnded()]));
    } catch (thrown) {
      this.#checkAlive();
      throw thrown;
    } finally {
      isOver = true;
    }
  }

  #checkAlive(): void {
    const end = this.#options.end?.();
    if (end !== undefined) throw hasEnded('the process that was to run', end);
  }

  /** It is its jailor's child, who reaps it, and writes down how it has ended when its sandbox is down. */
  async #howItEnded(): Promise<ProcessEnd> {
    const { stateDirectory, sandbox, end } = this.#options;
    const seen = end?.();
    if (seen !== undefined && (seen.code ?? seen.signal) !== null) return seen;
    for (const untilMs = performance.now() + EXIT_NOTED_MS; performance.now() < untilMs; await pause(EXIT_LOOK_MS)) {
      const exit = findSandboxState(stateDirectory, sandbox)?.exit ?? null;
      if (exit !== null) return { code: exit.code, signal: exit.signal };
    }
    return { code: null, signal: null };
  }

  /** The process is destroyed: nothing is fetched any more. */
  async abandon(): Promise<void> {
    const paging = await this.#starting?.catch(() => undefined);
    await paging?.close();
    this.#ended.resolve(NOTHING);
  }
}

const NOTHING: FillCounts = { faults: 0, faultedPages: 0, filledPages: 0, faultMicros: 0, ended: undefined };
/** A sandbox is taken down in much less. */
const EXIT_NOTED_MS = 2_000;
const EXIT_LOOK_MS = 20;
/** Between two looks while nobody runs. */
const END_LOOK_MS = 2;

function fillCounts({ pageFaults, faultedPages, filledPages, serviceMicros }: ServiceCounts): FillCounts {
  return { faults: pageFaults, faultedPages, filledPages, faultMicros: serviceMicros.median, ended: undefined };
}

/** Where a process has all of its memory when it runs. */
export const NOT_PAGED: DestinationPaging = {
  start: async () => unexpected(),
  adopt: async () => unexpected(),
};

function unexpected(): never {
  throw new ComicranError('peer.protocol', 'a process whose memory comes later, in a mode in which it does not');
}
