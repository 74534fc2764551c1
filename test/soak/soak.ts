import { readFileSync } from 'node:fs';
import type { ClientFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout, type MachineCount } from '../../src/lab/layout.ts';
import { descriptorCount, leftBehind, takeInventory } from '../support/inventory.ts';
import { find, start } from '../support/lab.ts';
import { Manager, NotMoved } from '../support/manager.ts';
import { addClient, addMigration, noTotals, type Totals } from './totals.ts';

export type SoakOptions = {
  /** Migrations in all, those of earlier sessions included. */
  readonly count: number;
  /** Requests a second. */
  readonly rate: number;
  /** Between real virtual machines; absent: in network namespaces. */
  readonly vms?: MachineCount | undefined;
  /** Taken in turns; absent or empty: the daemon's default. */
  readonly modes?: readonly string[];
  /** Of earlier sessions. Changed as this one goes on. */
  readonly totals?: Totals;
  readonly say: (text: string) => void;
  /** Called after each batch: what there is so far is worth keeping. */
  readonly onBatch?: (totals: Totals) => void;
  /** Ends it after the migration that is under way. */
  readonly signal?: AbortSignal;
};

export type SoakOutcome = {
  readonly migrations: number;
  readonly answered: number;
  readonly problems: readonly string[];
  readonly totals: Totals;
};

const STATE = labLayout().directory;
/** By emulation a machine does in a second what another does in some tens of milliseconds. */
const PACES = {
  namespaces: { warmUp: 4, batch: 25, longestSeconds: 300, graceSeconds: 0.5, patienceSeconds: 5 },
  vms: { warmUp: 2, batch: 5, longestSeconds: 1800, graceSeconds: 3, patienceSeconds: 120 },
} as const;

type Pace = {
  /** Migrations until caches, worker threads and connections are there that stay. */
  readonly warmUp: number;
  /** Migrations a client run. */
  readonly batch: number;
  /** A client that nobody ends, because this program was killed, ends then. */
  readonly longestSeconds: number;
  readonly graceSeconds: number;
  readonly patienceSeconds: number;
};

const paceOf = ({ vms }: SoakOptions): Pace => PACES[vms === undefined ? 'namespaces' : 'vms'];
/** So many that fail one behind the other are one failure that stays. */
const MAX_FAILURES_IN_A_ROW = 3;

/** Descriptors of each daemon of the lab, by name. */
function daemonDescriptors(): Record<string, number> {
  const lab = JSON.parse(readFileSync(labLayout().recordFile, 'utf8')) as {
    daemons: Record<string, { pid: number }>;
  };
  return Object.fromEntries(Object.entries(lab.daemons).map(([node, { pid }]) => [node, descriptorCount(pid)]));
}

/**
 * What a client run shows that should not be.
 * @param before how many requests the server had processed before: its counter goes on from there, or it has processed
 * something else, or something twice, also between two runs.
 */
export function clientProblems(report: ClientFigures, before: number): string[] {
  const { lost, duplicated, wrong, exactlyOnce, sent, counter } = report;
  const clean = lost === 0 && duplicated === 0 && wrong === 0 && exactlyOnce === true;
  const counts = counter?.first === before + 1 && counter.last === before + sent;
  return [
    ...(clean ? [] : [JSON.stringify(report)]),
    ...(counts
      ? []
      : [`the server counted ${counter?.first} to ${counter?.last}, not ${before + 1} to ${before + sent}`]),
  ];
}

function timeLeft(done: number, count: number, elapsedMs: number): string {
  if (done === 0) return '';
  const seconds = Math.round((elapsedMs / done / 1000) * (count - done));
  return `, ${seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`} left`;
}

class Session {
  readonly #options: SoakOptions;
  readonly #totals: Totals;
  readonly #manager = new Manager();
  #at = 'vm1';
  #moves = 0;
  #failuresInARow = 0;
  #processed = 0;

  constructor(options: SoakOptions, totals: Totals) {
    this.#options = options;
    this.#totals = totals;
  }

  close(): Promise<void> {
    return this.#manager.close();
  }

  /** @returns undefined where it stayed; why is among the problems. */
  async move() {
    const { modes = [] } = this.#options;
    const mode = modes[this.#moves++ % modes.length];
    const to = this.#at === 'vm1' ? 'vm2' : 'vm1';
    try {
      const moved = await this.#manager.migrate('square', to, mode === undefined ? {} : { mode });
      this.#at = to;
      this.#failuresInARow = 0;
      return moved;
    } catch (thrown) {
      if (!(thrown instanceof NotMoved)) throw thrown;
      this.#totals.problems.push(`a migration (${mode ?? 'default'}) failed: ${thrown.code}: ${thrown.message}`);
      if (++this.#failuresInARow >= MAX_FAILURES_IN_A_ROW) throw thrown;
      const found = await find('square');
      if (found?.state !== 'running') throw new Error(`square is ${found?.state ?? 'gone'}`, { cause: thrown });
      this.#at = found.vm;
      return undefined;
    }
  }

  /** A client run with migrations in it. */
  async batch(service: string, size: number): Promise<void> {
    const { rate, signal } = this.#options;
    const { longestSeconds: seconds, graceSeconds, patienceSeconds } = paceOf(this.#options);
    const load = new Load({ service, rate, seconds, graceSeconds, patienceSeconds, shielded: true });
    let report: ClientFigures | undefined;
    try {
      // A migration while the client is still being started would be one that nobody looks at.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      for (let round = 0; round < size && signal?.aborted !== true; round++) {
        const moved = await this.move();
        if (moved !== undefined) addMigration(this.#totals, moved);
      }
    } finally {
      report = await load.end().catch((thrown: unknown) => {
        this.#totals.problems.push(`the client failed: ${String(thrown)}`);
        return undefined;
      });
    }
    if (report === undefined) return;
    addClient(this.#totals, report);
    const problems = clientProblems(report, this.#processed);
    this.#processed = report.counter?.last ?? this.#processed;
    this.#totals.problems.push(
      ...problems.map((problem) => `client run to migration ${this.#totals.migrations}: ${problem}`),
    );
  }
}

/**
 * Moves the counting server until it has been moved `count` times. Leaves the machine as it was, also when it throws or
 * is ended early.
 */
export async function soak(options: SoakOptions): Promise<SoakOutcome> {
  const totals = options.totals ?? noTotals();
  const { problems } = totals;
  // A session that was killed has left its lab.
  if (totals.migrations > 0) await runComicran(['lab', 'down'], { shielded: true });
  const untouched = takeInventory([STATE]);
  const lab = ['lab', 'up', ...(options.vms === undefined ? [] : [`--vms=${options.vms}`])];
  await runComicran(lab, { shielded: true });
  try {
    await start('square.yaml', 'vm1');
    const service = (await find('square'))?.service;
    if (!service) throw new Error('the server has no service');
    const session = new Session(options, totals);
    try {
      for (let round = 0; round < paceOf(options).warmUp; round++) await session.move();
      const before = takeInventory([STATE]);
      const descriptors = daemonDescriptors();
      await batches(session, service, options, totals);
      // An even number brings the sandbox back to where the inventory was taken; its own pids are new in any case.
      if ((await find('square'))?.vm !== 'vm1') await session.move();
      const after = takeInventory([STATE]);
      for (const kind of Object.keys(after)) {
        const growth = after[kind]!.length - before[kind]!.length;
        if (growth > 0) problems.push(`${growth} more ${kind}: ${leftBehind(before, after).join(', ')}`);
      }
      for (const [name, count] of Object.entries(daemonDescriptors())) {
        if (count > descriptors[name]!) problems.push(`${name} has ${count} descriptors, ${descriptors[name]} before`);
      }
    } finally {
      await session.close();
    }
  } finally {
    await runComicran(['lab', 'down'], { shielded: true });
  }
  problems.push(...leftBehind(untouched, takeInventory([STATE])));
  return { migrations: totals.migrations, answered: totals.client.answered, problems, totals };
}

async function batches(session: Session, service: string, options: SoakOptions, totals: Totals): Promise<void> {
  const { count, say, signal, onBatch } = options;
  const [doneBefore, elapsedBefore, begin] = [totals.migrations, totals.elapsedMs, performance.now()];
  while (totals.migrations < count && signal?.aborted !== true) {
    await session.batch(service, Math.min(paceOf(options).batch, count - totals.migrations));
    const elapsed = performance.now() - begin;
    totals.elapsedMs = elapsedBefore + elapsed;
    const { answered, lost, duplicated, wrong } = totals.client;
    const left = timeLeft(totals.migrations - doneBefore, count - doneBefore, elapsed);
    say(
      `  ${totals.migrations}/${count} migrations${left}: ${answered} answered, ${lost} lost, ${duplicated} duplicated, ` +
        `${wrong} wrong, ${totals.problems.length} problems\n`,
    );
    onBatch?.(totals);
  }
}
