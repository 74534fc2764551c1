/** A virtual machine as far as a migration touches it: one sandbox's process, its socket, and the packets on the way. */
import { ComicranError } from '../../base/errors.ts';
import type { JournalEntry } from '../journal.ts';
import type {
  CarriedDatagram,
  DestinationEngine,
  DestinationPackets,
  DestinationPaging,
  DestinationReplay,
  FrozenProcess,
  Journal,
  PageRange,
  RestoredProcess,
  RestoringProcess,
  Snapshot,
  SourceCopying,
  SourcePackets,
  SourcePaging,
  SourceProcess,
  SourceTraffic,
  StoppedProcess,
} from '../ports.ts';
import type { Life } from './life.ts';
import { FakeFill, PAGE_SERVER, type Served } from './paging.ts';
import { answer, bootMemory, FAKE_PAGES, type Memory, newMemory, PAGE, pageFor } from './server.ts';
import { FakeGate, FakeTap, type Output } from './traffic.ts';
import type { World } from './world.ts';

/**
 * silent: runs behind a gate; running; traced: stopped, and runs on when its tracer ends; held: stopped for good; building: ends with its builder;
 * built: complete, stopped for good.
 */
type State = 'running' | 'silent' | 'traced' | 'held' | 'building' | 'built';

type FakeProcess = {
  state: State;
  readonly memory: Memory;
  /** The receive queue of its socket: numbers of requests. */
  readonly queue: number[];
  /** Every request that has gone into its memory, in order. */
  readonly processed: number[];
  /** Numbers of pages that are not there yet. */
  readonly missing: Set<number>;
  /** The missing page that it has touched. */
  awaited: number | undefined;
  /** Somebody who outlives the daemon hears of those who touch a missing page. */
  isKept: boolean;
};

function newProcess(state: State, memory: Memory): FakeProcess {
  return { state, memory, queue: [], processed: [], missing: new Set(), awaited: undefined, isKept: false };
}

export class Machine {
  readonly name: string;
  readonly #world: World;
  #process: FakeProcess | undefined;
  #held: number[] | undefined;
  #busy = false;
  #stopping = false;
  #hasEnded = false;
  #tap: FakeTap | undefined;
  #gate: FakeGate | undefined;
  #servesPages = false;
  /** Numbers of pages written since the last round, where somebody takes note. */
  #written: Set<number> | undefined;
  readonly #waiting: (() => void)[] = [];
  /** What a process sends that has been cut off. The kernel's: it outlives daemons. */
  #waitingOutputs: Output[] | undefined;
  /** Of an answer in several packets some have left when it is cut off. */
  isHalfOut = false;
  /** Something has been built of a process that is to come. */
  hasSketch = false;
  journalMicros = 0;
  serviceMicros = 150;
  /** From this request on its answers are not what another one's would be. */
  differsFrom = Number.POSITIVE_INFINITY;
  journal: JournalEntry | undefined;
  /** What the next call of this name throws. */
  readonly failing = new Map<string, number>();

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
  }

  boot(): void {
    this.#process = newProcess('running', bootMemory());
    this.#world.noteRunning();
  }

  /** Its answers leave. */
  get runs(): boolean {
    return this.#process?.state === 'running' && this.#waitingOutputs === undefined;
  }

  /** And the network takes them. */
  get isHeard(): boolean {
    return this.runs && this.#world.takesFrom(this);
  }

  get hasProcess(): boolean {
    return this.#process !== undefined;
  }

  get holds(): boolean {
    return this.#held !== undefined;
  }

  get processed(): readonly number[] {
    return this.#process?.processed ?? [];
  }

  get memory(): Memory | undefined {
    return this.#process?.memory;
  }

  /** Somebody takes note of what its process writes. */
  get isTracked(): boolean {
    return this.#written !== undefined;
  }

  get missingPages(): number {
    return this.#process?.missing.size ?? 0;
  }

  /** Nothing waits to be answered here. */
  get idle(): boolean {
    return !this.#busy && (this.#process === undefined || this.#process.queue.length === 0 || !this.runs);
  }

  /** It takes requests from its socket, whether its answers leave or not. */
  get #serves(): boolean {
    return this.#process?.state === 'running' || this.#process?.state === 'silent';
  }

  arrive(request: number): void {
    if (this.#held !== undefined) {
      this.#held.push(request);
      return;
    }
    this.#tap?.came(request);
    this.#changed();
    this.#enqueue(request);
  }

  /** The process ends, by itself or by somebody's hand. What has been seen of its traffic has been seen. */
  endProcess(): void {
    if (this.#process === undefined) return;
    this.#hasEnded = true;
    this.#remove();
    this.#changed();
  }

  /** What the kernel does when the daemon ends: traced processes run on, half-built ones end. */
  daemonEnded(): void {
    if (this.#process?.state === 'traced') this.#setState('running');
    if (this.#process?.state === 'building') this.#process = undefined;
    this.hasSketch = false;
    // The tap and what the gate holds are the daemon's; that the gate is shut is not.
    this.#tap = undefined;
    if (this.#gate !== undefined) this.#gate = new FakeGate();
    this.#servesPages = false;
    this.#written = undefined;
    // Missing pages of which nobody hears are zeros.
    if (this.#process?.isKept === false) this.#process.missing.clear();
    this.#serve();
  }

  // -------------------------------------------------------------------------------------------------------- ports

  sourceProcess(life: Life): SourceProcess {
    return {
      sketch: async () => {
        this.#mayFail('sketch');
        await this.#world.work();
        return new Uint8Array([1, 2, 3]);
      },
      freeze: async (): Promise<FrozenProcess> => {
        this.#mayFail('freeze');
        const beganMicros = this.#world.clock.nowMicros();
        const process = this.#there();
        await this.#world.work();
        // A tracer that has ended does not stop anybody.
        if (process.state === 'running' && !life.dead) this.#setState('traced');
        this.#checkWhole(process);
        const stoppedMicros = this.#world.clock.nowMicros() - beganMicros;
        return { ...this.stoppedProcess(), ...this.#frozen(process), stoppedMicros };
      },
      snapshot: async (): Promise<Snapshot> => {
        this.#mayFail('snapshot');
        const process = this.#there();
        await this.#world.work();
        if (!life.dead) this.#tap = new FakeTap(process.queue);
        const copy = { ...process, memory: copyOf(process.memory), processed: [...process.processed] };
        this.#checkWhole(copy);
        const { image, pages, ownPages, readPages } = this.#frozen(copy);
        return { image, pages, ownPages, readPages, freezeMicros: 500, close: () => undefined };
      },
      hasten: () => this.#mayFail('hasten'),
      stop: () => {
        this.#mayFail('stop');
        // A signal is sent, whoever waits for its effect.
        const process = this.#process;
        if (process?.state === 'running' && !life.dead)
          this.#world.clock.after(this.#world.random.between(1, 200), () => {
            if (this.#process === process && process.state === 'running' && this.#stopping) this.#setState('held');
          });
        this.#stopping = !life.dead;
      },
      confirmStop: async () => {
        this.#mayFail('confirmStop');
        await this.#world.clock.pause(201);
      },
      hasEnded: () => this.#process === undefined,
      stopped: this.stoppedProcess(),
    };
  }

  sourceTraffic(life: Life): SourceTraffic {
    const tap = (): FakeTap => {
      if (this.#tap === undefined) throw new ComicranError('replication.overrun', 'nobody watches');
      return this.#tap;
    };
    return {
      check: () => this.#mayFail('check'),
      start: async () => {
        this.#mayFail('start');
        await this.#world.work();
      },
      read: (maxEntries) => {
        this.#mayFail('read');
        if (this.#hasEnded && !tap().finished) throw new ComicranError('sandbox.not-running', 'the link is gone');
        return tap().read(maxEntries);
      },
      wait: (timeoutMs) => (this.#tap?.waiting ? this.#world.clock.pause(10) : this.#change(timeoutMs)),
      prepareCut: () => {
        this.#mayFail('prepareCut');
        if (this.#hasEnded) throw new ComicranError('process.gone', `the process at ${this.name} has ended`);
      },
      cut: () => {
        this.#mayFail('cut');
        if (!life.dead) this.#waitingOutputs ??= [];
      },
      uncut: () => this.#uncut(),
      isHalfOut: () => {
        this.#mayFail('isHalfOut');
        return this.isHalfOut;
      },
      letOut: () => {
        this.#mayFail('letOut');
        if (this.runs) this.#world.violation('what waits is let out, and more may follow');
        this.#uncut();
        this.#waitingOutputs = [];
      },
      finish: async () => {
        this.#mayFail('finish');
        await this.#world.work();
        return tap().finish();
      },
      close: () => {
        this.#tap = undefined;
      },
    };
  }

  sourceCopying(): SourceCopying {
    return {
      start: async () => {
        this.#mayFail('start copying');
        this.#written = new Set(pagesIn(writtenRanges(this.#there().memory)));
        await this.#world.work();
      },
      rounds: async (copy) => {
        for (let rounds = 1; ; rounds++) {
          this.#mayFail('rounds');
          const written = this.#written ?? new Set<number>();
          const pages = [...rangesOf(written), ...(rounds === 1 ? [GONE_RANGE] : [])];
          written.clear();
          await this.#world.work();
          await copy(pages);
          if (written.size <= 2 || rounds === MOST_ROUNDS) return rounds;
        }
      },
      readPages: async (ranges, into) => {
        if (this.#world.random.next() < 0.3) await this.#world.work();
        readRanges(this.#there().memory, ranges, into);
      },
      close: () => {
        this.#written = undefined;
      },
    };
  }

  sourcePaging(): SourcePaging {
    return {
      serve: async () => {
        this.#mayFail('serve');
        await this.#world.work();
        this.#servesPages = true;
        return PAGE_SERVER;
      },
      split: ({ pages }) => {
        const single = rangesOf(pagesIn(pages));
        return {
          eager: single.filter(({ start }) => start === 0n),
          later: single.filter(({ start }) => start !== 0n),
        };
      },
      close: () => {
        this.#servesPages = false;
      },
    };
  }

  servedPage(page: number): Served {
    if (!this.#servesPages) return 'away';
    const process = this.#process;
    if (process === undefined) return 'gone';
    // Whoever takes it to be what the process had when it was stopped is mistaken.
    if (process.state === 'running') return new Uint8Array(PAGE).fill(0xee);
    return process.memory.pages.slice(page * PAGE, (page + 1) * PAGE);
  }

  destinationPaging(life: Life): DestinationPaging {
    const fill = (process: FakeProcess): FakeFill =>
      new FakeFill(
        this.#world,
        process,
        life,
        () => this.#process === process,
        () => this.#serve(),
      );
    return {
      start: async (missing, server) => {
        this.#mayFail('start paging');
        if (Buffer.compare(server.key, PAGE_SERVER.key) !== 0) this.#world.violation('another key');
        const process = this.#there();
        for (const page of pagesIn(missing)) process.missing.add(page);
        await this.#world.work();
        return fill(process);
      },
      adopt: async () => {
        this.#mayFail('adopt');
        await this.#world.work();
        return fill(this.#there());
      },
    };
  }

  #checkWhole({ missing }: FakeProcess): void {
    if (missing.size > 0) this.#world.violation('a process that misses pages is captured');
  }

  #frozen(process: FakeProcess): Pick<FrozenProcess, 'image' | 'pages' | 'ownPages' | 'readPages' | 'holdStopped'> {
    const ownPages = writtenRanges(process.memory);
    return {
      image: encodeImage(process),
      pages: this.#written === undefined ? ownPages : rangesOf(this.#written),
      ownPages,
      readPages: async (ranges, into) => {
        this.#mayFail('readPages');
        if (this.#world.random.next() < 0.3) await this.#world.work();
        readRanges(process.memory, ranges, into);
      },
      holdStopped: async () => {
        this.#mayFail('holdStopped');
        process.state = 'held';
        await this.#world.work();
      },
    };
  }

  stoppedProcess(): StoppedProcess {
    return {
      resume: async () => {
        this.#stopping = false;
        this.#uncut();
        if (this.#hasEnded) throw new ComicranError('process.gone', `the process at ${this.name} has ended`);
        if (this.#process?.state === 'traced' || this.#process?.state === 'held') this.#setState('running');
        await this.#world.work();
      },
      kill: async () => {
        await this.#world.work();
        this.#remove();
      },
    };
  }

  sourcePackets(life: Life): SourcePackets {
    return {
      drain: async (deliver, timeoutMs, led = Promise.resolve()) => {
        const isCopied = this.#world.mode === 'replicated';
        let until = Number.POSITIVE_INFINITY;
        let quietSince = Number.POSITIVE_INFINITY;
        void led.then(() => {
          quietSince = this.#world.clock.nowMicros();
          until = quietSince + timeoutMs * 1000;
        });
        while (this.#world.clock.nowMicros() < Math.min(until, quietSince + 2 * this.#world.latencyMicros)) {
          for (let got = this.#take(life, isCopied); got !== undefined; got = this.#take(life, isCopied)) {
            deliver(datagramOf(got));
            if (this.#world.random.next() < 0.3) await this.#world.clock.pause(60);
            if (until !== Number.POSITIVE_INFINITY) quietSince = this.#world.clock.nowMicros();
          }
          await this.#world.clock.pause(100);
        }
        return { dropped: 0 };
      },
    };
  }

  engine(life: Life): DestinationEngine {
    return {
      sketch: async () => {
        this.#mayFail('build sketch');
        await this.#world.work();
        if (!life.dead) this.hasSketch = true;
      },
      forgetSketch: () => {
        this.hasSketch = false;
      },
      begin: async (image): Promise<RestoringProcess> => {
        this.hasSketch = false;
        this.#mayFail('begin');
        await this.#world.work();
        const process = newProcess('building', newMemory());
        decodeImage(process, image);
        if (!life.dead) this.#process = process;
        return {
          ...this.restoredProcess(),
          writePages: async (ranges, bytes) => {
            this.#mayFail('writePages');
            if (this.#process !== process && !life.dead)
              throw new ComicranError('process.trace', 'it has ended, by SIGKILL');
            if (this.#world.random.next() < 0.3) await this.#world.work();
            if (pagesIn(ranges).some((page) => page >= FAKE_PAGES))
              this.#world.violation('a page that is gone is written');
            else writeRanges(process.memory, ranges, bytes);
          },
          finish: async () => {
            this.#mayFail('finish');
            await this.#world.work();
            if (this.#process === process) process.state = 'built';
          },
          confirm: () => {
            if (this.#hasEnded)
              throw new ComicranError('process.trace', 'the process that was to run has ended, by SIGKILL');
          },
        };
      },
    };
  }

  restoredProcess(): RestoredProcess {
    return {
      rehearse: async () => {
        this.#mayFail('rehearse');
        if (this.#gate === undefined) this.#world.violation('a copy runs without a gate');
        await this.#world.work();
        this.#setState('silent');
      },
      run: () => {
        this.#mayFail('run');
        if (this.#hasEnded)
          throw new ComicranError('process.trace', `the process that was to run at ${this.name} has ended`);
        if (this.#there().state !== 'running') this.#setState('running');
      },
      destroy: async () => {
        await this.#world.work();
        if (this.#process?.state === 'running') this.#world.violation('a running process is destroyed');
        this.#remove();
      },
    };
  }

  destinationReplay(life: Life): DestinationReplay {
    // Of this daemon: what it has been told dies with it.
    const gate = new FakeGate();
    return {
      shut: async () => {
        this.#mayFail('shut');
        if (!life.dead) this.#gate = gate;
        await this.#world.work();
      },
      play: (entries) => {
        gate.play(entries);
        this.#changed();
      },
      step: () => {
        this.#mayFail('step');
        this.#checkCopy();
        for (const request of gate.inject()) this.#enqueue(request);
        return gate.compare();
      },
      wait: (timeoutMs) => this.#change(timeoutMs),
      rest: () => undefined,
      release: () => {
        this.#mayFail('release gate');
        this.#checkCopy();
        const held = gate.takeHeld();
        for (const { request } of held) this.#world.answer(this, request);
        return held.length;
      },
      open: () => {
        this.#mayFail('open gate');
        for (const { request } of gate.takeHeld()) this.#world.answer(this, request);
        this.#gate = undefined;
      },
      discard: async () => {
        this.#gate = undefined;
      },
    };
  }

  destinationPackets(): DestinationPackets {
    return {
      hold: async () => {
        this.#mayFail('hold');
        this.#held ??= [];
      },
      inject: async (datagram) => {
        if (this.#world.random.next() < 0.3) await this.#world.work();
        this.#enqueue(Buffer.from(datagram.payload).readUInt32LE());
      },
      release: async () => {
        this.#mayFail('release');
        const held = this.#held ?? [];
        for (const request of held) this.#enqueue(request);
        this.#held = undefined;
        await this.#world.work();
        return { held: held.length };
      },
      discard: async () => {
        for (const request of this.#held ?? []) this.#world.lose(request);
        this.#held = undefined;
      },
    };
  }

  journalPort(): Journal {
    return {
      write: (entry) => {
        this.#mayFail(`journal ${entry.stage}`);
        this.journal = entry;
        this.journalMicros = this.#world.clock.nowMicros();
      },
      clear: async (migrationId) => {
        if (this.journal?.migration.id === migrationId) this.journal = undefined;
      },
    };
  }

  // ------------------------------------------------------------------------------------------------------ the inside

  /** Resolves when something has gone in or out, or the time is over. */
  #change(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#world.clock.startTimer(timeoutMs, resolve);
    this.#waiting.push(() => {
      cancel();
      resolve();
    });
    return promise;
  }

  #changed(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #mayFail(name: string): void {
    const left = this.failing.get(name);
    if (left === undefined) return;
    this.failing.set(name, left - 1);
    if (left > 0) throw new ComicranError('process.trace', `${name} failed at ${this.name}`);
  }

  #checkCopy(): void {
    if (this.#hasEnded) throw new ComicranError('replication.ended', `its copy has ended at ${this.name}, by SIGKILL`);
  }

  #there(): FakeProcess {
    if (this.#process === undefined) throw new ComicranError('process.gone', `no process at ${this.name}`);
    return this.#process;
  }

  /** @param isCopied what waits in the socket is in the log as well, but for what came behind its end */
  #take(life: Life, isCopied: boolean): number | undefined {
    if (life.dead) return undefined;
    return isCopied ? this.#tap?.late.shift() : this.#process?.queue.shift();
  }

  #enqueue(request: number): void {
    if (this.#process === undefined) {
      this.#world.lose(request);
      return;
    }
    this.#process.queue.push(request);
    this.#serve();
  }

  #uncut(): void {
    const outputs = this.#waitingOutputs ?? [];
    this.#waitingOutputs = undefined;
    for (const output of outputs) this.#leave(output);
    this.#world.noteRunning();
  }

  #remove(): void {
    this.#waitingOutputs = undefined;
    for (const request of this.#process?.queue ?? []) this.#world.lose(request);
    this.#process = undefined;
  }

  #setState(state: State): void {
    this.#there().state = state;
    this.#world.noteRunning();
    this.#serve();
  }

  #answer(process: FakeProcess, request: number): void {
    this.#written?.add(pageFor(process.memory, request));
    answer(process.memory, request);
    process.processed.push(request);
    // Whoever waits looks when this has been noted.
    this.#world.clock.after(0, () => this.#changed());
    const digest = Buffer.alloc(16, request >= this.differsFrom ? this.name : 0);
    digest.set(process.memory.registers);
    if (process.state === 'silent') {
      this.#gate?.sent({ request, digest });
      return;
    }
    if (this.#waitingOutputs === undefined) this.#leave({ request, digest });
    else this.#waitingOutputs.push({ request, digest });
  }

  #leave(output: Output): void {
    this.#tap?.went(output);
    this.#world.answer(this, output.request);
  }

  /** One request after another, each taking its time, so that some wait when the process is stopped. */
  #serve(): void {
    const process = this.#process;
    if (this.#busy || process === undefined || !this.#serves || process.queue.length === 0) return;
    this.#busy = true;
    this.#world.clock.after(this.serviceMicros, () => {
      this.#busy = false;
      if (process !== this.#process || !this.#serves) {
        this.#serve();
        return;
      }
      const [next] = process.queue;
      const page = next === undefined ? undefined : pageFor(process.memory, next);
      process.awaited = page !== undefined && process.missing.has(page) ? page : undefined;
      // It is woken when the page comes.
      if (process.awaited !== undefined) return;
      const request = process.queue.shift();
      if (request !== undefined) this.#answer(process, request);
      this.#serve();
    });
  }
}

function copyOf(memory: Memory): Memory {
  return { registers: memory.registers.slice(), pages: memory.pages.slice() };
}

/** Registers, then what has been processed, so that a test can tell. */
function encodeImage({ memory, processed }: FakeProcess): Uint8Array {
  return Buffer.concat([memory.registers, ...processed.map((request) => bytesOf(request))]);
}

function decodeImage(process: FakeProcess, image: Uint8Array): void {
  const bytes = Buffer.from(image);
  process.memory.registers.set(bytes.subarray(0, 8));
  for (let at = 8; at < bytes.length; at += 4) process.processed.push(bytes.readUInt32LE(at));
}

function bytesOf(request: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(request);
  return bytes;
}

function datagramOf(request: number): CarriedDatagram {
  const payload = bytesOf(request);
  return {
    sourceAddress: Uint8Array.of(10, 0, 0, 9),
    sourcePort: 40_000,
    destinationAddress: Uint8Array.of(10, 88, 0, 5),
    destinationPort: 5006,
    payload,
  };
}

/** A page that the process has in the first round of copying, and not at the end. */
const GONE_RANGE: PageRange = { start: BigInt(99 * PAGE), length: PAGE };
const MOST_ROUNDS = 5;

function pagesIn(ranges: readonly PageRange[]): number[] {
  return ranges.flatMap(({ start, length }) =>
    Array.from({ length: length / PAGE }, (_, index) => Number(start) / PAGE + index),
  );
}

/** One range a page, in order. */
function rangesOf(pages: Iterable<number>): PageRange[] {
  return [...pages].toSorted((a, b) => a - b).map((page) => ({ start: BigInt(page * PAGE), length: PAGE }));
}

function readRanges(memory: Memory, ranges: readonly PageRange[], into: Uint8Array): void {
  let at = 0;
  for (const { start, length } of ranges) {
    into.set(memory.pages.subarray(Number(start), Number(start) + length), at);
    at += length;
  }
}

/** Runs of pages that are not zero. */
function writtenRanges(memory: Memory): PageRange[] {
  const ranges: { start: bigint; length: number }[] = [];
  for (let page = 0; page < FAKE_PAGES; page++) {
    const start = page * PAGE;
    if (!memory.pages.subarray(start, start + PAGE).some((byte) => byte !== 0)) continue;
    const last = ranges.at(-1);
    if (last !== undefined && Number(last.start) + last.length === start) last.length += PAGE;
    else ranges.push({ start: BigInt(start), length: PAGE });
  }
  return ranges;
}

function writeRanges(memory: Memory, ranges: readonly PageRange[], bytes: Uint8Array): void {
  let at = 0;
  for (const { start, length } of ranges) {
    memory.pages.set(bytes.subarray(at, at + length), Number(start));
    at += length;
  }
}
