/** A migration from its beginning to its end, through whatever is done to it, and what must hold afterwards. */
import assert from 'node:assert/strict';
import { runDestination } from '../destination.ts';
import type { Migration } from '../journal.ts';
import type { ModeName } from '../modes.ts';
import type { DestinationOutcome, SourceOutcome } from '../outcome.ts';
import type { Progress } from '../phases.ts';
import type { DestinationPorts, SourcePorts, TakeoverOrder } from '../ports.ts';
import { type DestinationRecovery, recoverDestination, recoverSource, type SourceRecovery } from '../recover.ts';
import type { SnapshotWay } from '../snapshot-way.ts';
import { runSource } from '../source.ts';
import type { Deadlines } from '../waiting.ts';
import { type Death, Life } from './life.ts';
import { replay } from './server.ts';
import { World, type WorldOptions } from './world.ts';

export type Side = 'source' | 'destination';

export type ScenarioOptions = Omit<WorldOptions, 'mode'> & {
  readonly mode?: ModeName;
  readonly outputRule?: boolean;
  /** Replicated: absent: fork. */
  readonly snapshot?: SnapshotWay;
  /** How each daemon dies, in its first run and in those after it. */
  readonly deaths?: Readonly<Partial<Record<Side, readonly Death[]>>>;
  /** True: the other side is not told by the dead one's kernel. */
  readonly silently?: boolean;
  /** Port calls that fail, as "destination begin": how often. */
  readonly failing?: Readonly<Record<string, number>>;
  /** Microseconds after which the operator aborts. */
  readonly abortAt?: number;
  /** Microseconds after which the process at the source ends. */
  readonly endsAt?: number;
  /** Microseconds after which the process at the destination ends, silent copy or not. */
  readonly endsThereAt?: number;
  /** Microseconds until a dead daemon is there again. */
  readonly restartMicros?: number;
  /** The source's whole machine dies with its daemon. */
  readonly machineDies?: boolean;
  /** A whole copy is kept; so many microseconds after it has said so it is told to take over. Absent: never. */
  readonly orderMicros?: number;
  readonly requests?: number;
  /** Replicated: from this request on the copy answers differently. */
  readonly differsFrom?: number;
  /** The cut falls between two packets of one answer. */
  readonly halfOut?: boolean;
  /** How long the copy takes for a request, where that is another time than the process takes. */
  readonly copyMicros?: number;
  readonly onProgress?: (side: Side, progress: Progress<string>) => void;
  /** What the destination expects, where it is not what the source brings. */
  readonly expected?: Partial<Migration>;
  readonly deadlines?: Partial<Deadlines>;
};

export type Report = {
  readonly world: World;
  /** Undefined where a daemon has come back and found nothing in its journal. */
  readonly source: SourceOutcome | SourceRecovery | undefined;
  readonly destination: DestinationOutcome | DestinationRecovery | undefined;
  /** Names of the calls in each side's first run. */
  readonly calls: Readonly<Record<Side, readonly string[]>>;
  readonly deaths: number;
};

export const MIGRATION: Migration = {
  id: 'migration-1',
  sandbox: 'square',
  mode: 'stopcopy',
  source: 'vm1',
  destination: 'vm2',
  epoch: 7n,
};

const DEADLINES = {
  ...{ totalMs: 4_000, stepMs: 1_000, ownedMs: 300, holdMs: 100, handOverMs: 900, retryMs: 100 },
  ...{ giveBackMs: 3_000, confirmMs: 8_000, leadMs: 4_000, fillMs: 20_000, keepLookMs: 200 },
};

export async function runScenario(options: ScenarioOptions): Promise<Report> {
  const world = new World({ ...options, mode: options.mode ?? 'stopcopy' });
  return world.clock.run(play(world, options));
}

async function play(world: World, options: ScenarioOptions): Promise<Report> {
  for (const [name, times] of Object.entries(options.failing ?? {})) {
    const [side, ...port] = name.split(' ');
    (side === 'source' ? world.source : world.destination).failing.set(port.join(' '), times);
  }
  world.source.isHalfOut = options.halfOut ?? false;
  if (options.differsFrom !== undefined) world.destination.differsFrom = options.differsFrom;
  world.destination.serviceMicros = options.copyMicros ?? world.serviceMicros;
  const load = sendRequests(world, options.requests ?? 60);
  // Some requests are answered before, some wait in the socket when it begins.
  await world.clock.pause(3_000);
  const abort = new AbortController();
  if (options.abortAt !== undefined) world.clock.after(options.abortAt, () => abort.abort());
  if (options.endsAt !== undefined) world.clock.after(options.endsAt, () => world.source.endProcess());
  const { endsThereAt } = options;
  if (endsThereAt !== undefined) world.clock.after(endsThereAt, () => world.destination.endProcess());
  let deaths = 0;
  const calls: Record<Side, readonly string[]> = { source: [], destination: [] };

  /** Runs a side until one of its lives comes to an end of its own. */
  const live = async <Outcome>(
    side: Side,
    first: (life: Life) => Promise<Outcome>,
    again: (life: Life) => Promise<Outcome>,
  ): Promise<Outcome> => {
    for (let run = 0; ; run++) {
      const life = new Life(options.deaths?.[side]?.[run]);
      if (run === 0) calls[side] = life.calls;
      const died = life.died.then(() => {
        if (side === 'source' && options.machineDies) world.machineEnded(side, life);
        else world.daemonEnded(side, options.silently ?? false, life);
      });
      const outcome = await Promise.race([run === 0 ? first(life) : again(life), died.then(() => DIED)]);
      if (outcome !== DIED) return outcome as Outcome;
      deaths++;
      await world.clock.pause(options.restartMicros ?? 5_000);
    }
  };

  const ordered = Promise.withResolvers<TakeoverOrder>();
  const { orderMicros } = options;
  const role = (side: Side) => ({
    deadlines: { ...DEADLINES, ...options.deadlines },
    chunkBytes: 8192,
    onProgress: (progress: Progress<string>) => {
      options.onProgress?.(side, progress);
      if (progress.phase === 'keep' && progress.note === undefined && orderMicros !== undefined)
        world.clock.after(orderMicros, () => ordered.resolve({ sourceIsOff: false }));
    },
  });
  const migration: Migration = { ...MIGRATION, mode: world.mode };
  world.listening = true;
  const source = live<SourceOutcome | SourceRecovery | undefined>(
    'source',
    (life) =>
      runSource(sourcePorts(world, life), migration, {
        ...role('source'),
        signal: abort.signal,
        outputRule: options.outputRule ?? false,
        mayBeTakenOver: orderMicros !== undefined,
        snapshot: { way: options.snapshot ?? 'fork', why: 'the test says so' },
      }),
    async (life) => {
      const entry = world.source.journal;
      if (entry?.side !== 'source') return undefined;
      const process = life.wrap('process', world.source.stoppedProcess());
      return recoverSource({ ...sourcePorts(world, life), process }, entry, role('source'));
    },
  );
  const destination = live<DestinationOutcome | DestinationRecovery | undefined>(
    'destination',
    async (life) => {
      const outcome = await runDestination(
        destinationPorts(world, life),
        { ...migration, ...options.expected },
        { ...role('destination'), ...(orderMicros === undefined ? {} : { ordered: ordered.promise }) },
      );
      world.listening = false;
      return outcome;
    },
    async (life) => {
      const entry = world.destination.journal;
      if (entry?.side !== 'destination') return undefined;
      const process = life.wrap('process', world.destination.restoredProcess());
      world.listening = true;
      const ageMs = (world.clock.nowMicros() - world.destination.journalMicros) / 1000;
      const ports = { ...destinationPorts(world, life), process, ageMs };
      const recovery = await recoverDestination(ports, entry, role('destination'));
      world.listening = false;
      return recovery;
    },
  );
  const report = { world, source: await source, destination: await destination, calls, deaths };
  await load;
  while (!world.quiet) await world.clock.pause(1_000);
  return report;
}

const DIED = Symbol('died');

async function sendRequests(world: World, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    world.request();
    await world.clock.pause(world.random.between(20, 400));
  }
}

export function sourcePorts(world: World, life: Life): SourcePorts {
  const { connect } = life.wrap('net', { connect: () => world.connect() });
  return {
    process: life.wrap('process', world.source.sourceProcess(life)),
    packets: life.wrap('packets', world.source.sourcePackets(life)),
    traffic: life.wrap('traffic', world.source.sourceTraffic(life)),
    copying: life.wrap('copying', world.source.sourceCopying()),
    paging: life.wrap('paging', world.source.sourcePaging()),
    connect,
    ownership: life.wrap('ownership', world.ownership(world.source)),
    journal: life.wrap('journal', world.source.journalPort()),
    clock: life.clock(world.clock),
  };
}

export function destinationPorts(world: World, life: Life): DestinationPorts {
  const { accept } = life.wrap('net', { accept: (timeoutMs: number) => world.accept(timeoutMs) });
  return {
    engine: life.wrap('engine', world.destination.engine(life)),
    packets: life.wrap('packets', world.destination.destinationPackets()),
    replay: life.wrap('replay', world.destination.destinationReplay(life)),
    paging: life.wrap('paging', world.destination.destinationPaging(life)),
    accept,
    ownership: life.wrap('ownership', world.ownership(world.destination)),
    journal: life.wrap('journal', world.destination.journalPort()),
    clock: life.clock(world.clock),
  };
}

/** What must hold whatever has happened, but that a source was told to be done without. */
export function checkOneInstance(report: Report): void {
  checkInstance(report);
  const { answered } = report.world;
  assert.equal(new Set(answered).size, answered.length, 'no request was answered twice');
}

/** What must hold whatever has happened. */
export function checkInstance({ world }: Report): void {
  const { source, destination } = world;
  assert.deepEqual(world.violations, []);
  assert.equal(Number(source.runs) + Number(destination.runs), 1, 'exactly one instance runs');
  const [running, other] = source.runs ? [source, destination] : [destination, source];
  assert.equal(world.record.owner, running.name, 'the record names the machine where it runs');
  assert.equal(other.hasProcess, false, 'there is no other instance, not even a stopped one');
  assert.equal(source.journal, undefined, 'the source has nothing left to decide');
  assert.equal(destination.journal, undefined, 'the destination has nothing left to decide');
  assert.equal(destination.holds, false, 'no packet is held any more');
  assert.equal(destination.hasSketch, false, 'nothing is left of what was built beforehand');
  assert.equal(source.isTracked, false, 'nobody takes note of writes any more');
  assert.equal(running.missingPages, 0, 'no page is missing');
  // Registers and memory are those of a server that never moved.
  const expected = replay(running.processed);
  assert.deepEqual(running.memory?.registers, expected.registers, 'the server is the one that it was');
  // Not deepEqual: to print how thousands of bytes differ takes seconds.
  assert.ok(Buffer.from(expected.pages).equals(running.memory?.pages ?? Buffer.alloc(0)), 'its memory is the same');
  assert.equal(new Set(running.processed).size, running.processed.length, 'no request was processed twice');
}

/** What must hold where nobody died after the destination had come to own. */
export function checkNothingLost({ world }: Report): void {
  // What waits in the socket of a process that was copied has a copy of its own.
  if (world.mode !== 'replicated') assert.deepEqual(world.lost, [], 'no request was lost');
  assert.equal(world.answered.length, world.sent, 'every request was answered');
}
