/** A virtual machine as far as a migration touches it: one sandbox's process, its socket, and the packets on the way. */
import { ComicranError } from '../../base/errors.ts';
import type { JournalEntry } from '../journal.ts';
import type {
  CarriedDatagram,
  DestinationEngine,
  DestinationPackets,
  FrozenProcess,
  Journal,
  PageRange,
  RestoredProcess,
  RestoringProcess,
  SourcePackets,
  SourceProcess,
  StoppedProcess,
} from '../ports.ts';
import type { Life } from './life.ts';
import { answer, bootMemory, FAKE_PAGES, type Memory, newMemory, PAGE } from './server.ts';
import type { World } from './world.ts';

/**
 * running; traced: stopped, and runs on when its tracer ends; held: stopped for good; building: ends with its builder;
 * built: complete, stopped for good.
 */
type State = 'running' | 'traced' | 'held' | 'building' | 'built';

type FakeProcess = {
  state: State;
  readonly memory: Memory;
  /** The receive queue of its socket: numbers of requests. */
  readonly queue: number[];
};

export class Machine {
  readonly name: string;
  readonly #world: World;
  #process: FakeProcess | undefined;
  #held: number[] | undefined;
  #busy = false;
  journal: JournalEntry | undefined;
  /** What the next call of this name throws. */
  readonly failing = new Map<string, number>();

  constructor(name: string, world: World) {
    this.name = name;
    this.#world = world;
  }

  boot(): void {
    this.#process = { state: 'running', memory: bootMemory(), queue: [] };
    this.#world.noteRunning();
  }

  get runs(): boolean {
    return this.#process?.state === 'running';
  }

  get hasProcess(): boolean {
    return this.#process !== undefined;
  }

  get holds(): boolean {
    return this.#held !== undefined;
  }

  get memory(): Memory | undefined {
    return this.#process?.memory;
  }

  /** Nothing waits to be answered here. */
  get idle(): boolean {
    return !this.#busy && (this.#process === undefined || this.#process.queue.length === 0 || !this.runs);
  }

  arrive(request: number): void {
    if (this.#held !== undefined) this.#held.push(request);
    else this.#enqueue(request);
  }

  /** What the kernel does when the daemon ends: traced processes run on, half-built ones end. */
  daemonEnded(): void {
    if (this.#process?.state === 'traced') this.#setState('running');
    if (this.#process?.state === 'building') this.#process = undefined;
  }

  // -------------------------------------------------------------------------------------------------------- ports

  sourceProcess(life: Life): SourceProcess {
    return {
      freeze: async (): Promise<FrozenProcess> => {
        this.#mayFail('freeze');
        const process = this.#there();
        await this.#world.work();
        // A tracer that has ended does not stop anybody.
        if (process.state === 'running' && !life.dead) this.#setState('traced');
        return { ...this.stoppedProcess(), ...this.#frozen(process) };
      },
    };
  }

  #frozen(process: FakeProcess): Pick<FrozenProcess, 'image' | 'pages' | 'readPages' | 'holdStopped'> {
    return {
      image: Buffer.from(process.memory.registers),
      pages: writtenRanges(process.memory),
      readPages: async (ranges, into) => {
        this.#mayFail('readPages');
        if (this.#world.random.next() < 0.3) await this.#world.work();
        let at = 0;
        for (const { start, length } of ranges) {
          into.set(process.memory.pages.subarray(Number(start), Number(start) + length), at);
          at += length;
        }
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
      drain: async (deliver, timeoutMs) => {
        const until = this.#world.clock.nowMicros() + timeoutMs * 1000;
        let quietSince = this.#world.clock.nowMicros();
        while (this.#world.clock.nowMicros() < Math.min(until, quietSince + 2 * this.#world.latencyMicros)) {
          for (let got = this.#take(life); got !== undefined; got = this.#take(life)) {
            deliver(datagramOf(got));
            if (this.#world.random.next() < 0.3) await this.#world.clock.pause(60);
            quietSince = this.#world.clock.nowMicros();
          }
          await this.#world.clock.pause(100);
        }
        return { dropped: 0 };
      },
    };
  }

  engine(life: Life): DestinationEngine {
    return {
      begin: async (image): Promise<RestoringProcess> => {
        this.#mayFail('begin');
        await this.#world.work();
        const process: FakeProcess = { state: 'building', memory: newMemory(), queue: [] };
        process.memory.registers.set(image);
        if (!life.dead) this.#process = process;
        return {
          ...this.restoredProcess(),
          writePages: async (ranges, bytes) => {
            this.#mayFail('writePages');
            if (this.#world.random.next() < 0.3) await this.#world.work();
            writeRanges(process.memory, ranges, bytes);
          },
          finish: async () => {
            this.#mayFail('finish');
            await this.#world.work();
            if (this.#process === process) process.state = 'built';
          },
        };
      },
    };
  }

  restoredProcess(): RestoredProcess {
    return {
      run: () => {
        this.#mayFail('run');
        if (this.#there().state !== 'running') this.#setState('running');
      },
      destroy: async () => {
        await this.#world.work();
        if (this.#process?.state === 'running') this.#world.violation('a running process is destroyed');
        this.#remove();
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
      },
      clear: async (migrationId) => {
        if (this.journal?.migration.id === migrationId) this.journal = undefined;
      },
    };
  }

  // ------------------------------------------------------------------------------------------------------ the inside

  #mayFail(name: string): void {
    const left = this.failing.get(name);
    if (left === undefined) return;
    this.failing.set(name, left - 1);
    if (left > 0) throw new ComicranError('process.trace', `${name} failed at ${this.name}`);
  }

  #there(): FakeProcess {
    if (this.#process === undefined) throw new ComicranError('process.gone', `no process at ${this.name}`);
    return this.#process;
  }

  #take(life: Life): number | undefined {
    return life.dead ? undefined : this.#process?.queue.shift();
  }

  #enqueue(request: number): void {
    if (this.#process === undefined) {
      this.#world.lose(request);
      return;
    }
    this.#process.queue.push(request);
    this.#serve();
  }

  #remove(): void {
    for (const request of this.#process?.queue ?? []) this.#world.lose(request);
    this.#process = undefined;
  }

  #setState(state: State): void {
    this.#there().state = state;
    this.#world.noteRunning();
    this.#serve();
  }

  /** One request after another, each taking its time, so that some wait when the process is stopped. */
  #serve(): void {
    const process = this.#process;
    if (this.#busy || process === undefined || process.state !== 'running' || process.queue.length === 0) return;
    this.#busy = true;
    this.#world.clock.after(this.#world.serviceMicros, () => {
      this.#busy = false;
      if (process !== this.#process || process.state !== 'running') {
        this.#serve();
        return;
      }
      const request = process.queue.shift();
      if (request !== undefined) {
        answer(process.memory, request);
        this.#world.answered.push(request);
      }
      this.#serve();
    });
  }
}

function datagramOf(request: number): CarriedDatagram {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(request);
  return {
    sourceAddress: Uint8Array.of(10, 0, 0, 9),
    sourcePort: 40_000,
    destinationAddress: Uint8Array.of(10, 88, 0, 5),
    destinationPort: 5006,
    payload,
  };
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
