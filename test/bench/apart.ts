/** What clients see of a migration where server and client have a CPU that nobody else takes. */
import { setTimeout as sleep } from 'node:timers/promises';
import { defined } from '../../src/base/assert.ts';
import { summarise } from '../../src/base/stats.ts';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { start } from '../support/lab.ts';
import type { Manager } from '../support/manager.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { millis, moveOften, serviceOf } from './lab.ts';
import { latencyFigures } from './latency.ts';
import { type OwnCpu, withOwnCpu } from './own-cpu.ts';
import { slowdownApart } from './slowdown.ts';

const MIGRATIONS = 60;
const RATE = 2000;
const LONGEST_SECONDS = 1200;
const SANDBOX = 'square';
/** After the server has been given its CPU again, and before the control begins. */
const SETTLE_MS = 150;
const CONTROL_MS = 1000;
const [UNTIL_CUTOVER, BETWEEN] = ['until the cutover', 'until it has its CPU again'];

const nowUnixUs = (): number => (performance.timeOrigin + performance.now()) * 1000;

/** When the destination could answer. */
function cutOverUnixUs({ beganUnixUs, phases, cutoverUs }: MigrationFigures): number {
  const commit = defined(
    phases.find(({ phase }) => phase === 'commit'),
    'the phase of the cutover',
  );
  return beganUnixUs + commit.startUs + (cutoverUs ?? 0);
}

/** Moves it there and back. What is between a cutover and the next control is in neither. */
async function moveApart(manager: Manager, load: Load, own: OwnCpu, count: number): Promise<MigrationFigures[]> {
  return await moveOften(manager, SANDBOX, {
    ...{ mode: 'replicated', count, pauseMs: CONTROL_MS },
    async onMoved(moved) {
      const cutOver = cutOverUnixUs(moved);
      load.mark(UNTIL_CUTOVER, { startedUnixUs: moved.startedUnixUs, endedUnixUs: cutOver });
      await own.give(SANDBOX);
      await sleep(SETTLE_MS);
      load.mark(BETWEEN, { startedUnixUs: cutOver, endedUnixUs: nowUnixUs() });
    },
  });
}

async function latencyApart(manager: Manager, own: OwnCpu, count: number): Promise<Figure[]> {
  await start('square.yaml', 'vm1');
  await own.give(SANDBOX);
  const service = await serviceOf(SANDBOX);
  const load = own.starting(() => new Load({ service, rate: RATE, seconds: LONGEST_SECONDS, hiccups: true }));
  let moved: MigrationFigures[];
  try {
    await load.begun;
    await sleep(1500);
    moved = await moveApart(manager, load, own, count);
  } catch (thrown) {
    await load.end().catch(() => undefined);
    throw thrown;
  }
  const { windows, lost, duplicated, wrong } = await load.end();
  const { byLabel, control } = defined(windows, 'the figures of the windows');
  const what = 'server and client with a CPU of their own';
  const moving = defined(byLabel[UNTIL_CUTOVER], 'migrations in the window');
  const time = (name: string, pick: (each: MigrationFigures) => number | null): Figure => ({
    ...{ name: `${name}, ${what}`, unit: 'ms' },
    summary: summarise(millis(moved, pick)),
  });
  return [
    {
      ...{ name: `lost, duplicated or wrong, ${what}`, unit: 'requests' },
      ...{ summary: summarise([lost, duplicated, wrong]), maxBar: 0 },
    },
    ...latencyFigures(`${what}, until the cutover`, moving, control, true),
    time('freeze', (each) => each.freezeUs),
    time('cutover', (each) => each.cutoverUs),
  ];
}

export async function apartFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  return await withOwnCpu(async (manager, own) => [
    ...(await latencyApart(manager, own, count)),
    ...(await slowdownApart(manager, own, count)),
  ]);
}
