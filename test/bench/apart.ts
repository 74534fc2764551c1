/**
 * What clients see of a migration where server and client have a CPU that nobody else takes. In a lab of two CPUs five
 * programs share them, and most of what the other sections find is that sharing: here the server, as it is until the
 * cutover, and the client have the last CPU, and daemons, sdn, copy and engine the others.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { defined } from '../../src/base/assert.ts';
import { summarise } from '../../src/base/stats.ts';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { cpusOf, getAffinity } from '../../src/linux/scheduling.ts';
import { Cpuset } from '../support/cpuset.ts';
import { find, start } from '../support/lab.ts';
import type { Manager } from '../support/manager.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { inLab, millis, moveOften, serviceOf } from './lab.ts';
import { latencyFigures } from './latency.ts';

const MIGRATIONS = 60;
const RATE = 2000;
const LONGEST_SECONDS = 1200;
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

async function giveCpu(own: Cpuset): Promise<void> {
  own.hold(defined((await find('square'))?.pid, 'the process of the server'));
}

/** Moves it there and back. What is between a cutover and the next control is in neither. */
async function moveApart(manager: Manager, load: Load, own: Cpuset, count: number): Promise<MigrationFigures[]> {
  return await moveOften(manager, 'square', {
    ...{ mode: 'replicated', count, pauseMs: CONTROL_MS },
    async onMoved(moved) {
      const cutOver = cutOverUnixUs(moved);
      load.mark(UNTIL_CUTOVER, { startedUnixUs: moved.startedUnixUs, endedUnixUs: cutOver });
      await giveCpu(own);
      await sleep(SETTLE_MS);
      load.mark(BETWEEN, { startedUnixUs: cutOver, endedUnixUs: nowUnixUs() });
    },
  });
}

export async function apartFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  const cpus = cpusOf(getAffinity(0));
  const last = cpus.pop();
  if (last === undefined || cpus.length === 0) throw new Error('needs two CPUs');
  using own = new Cpuset('comicran-bench-own', `${last}`);
  using others = new Cpuset('comicran-bench-others', cpus.join());
  others.hold(process.pid);
  return await inLab(async (manager) => {
    await start('square.yaml', 'vm1');
    await giveCpu(own);
    own.hold(process.pid);
    const load = new Load({ service: await serviceOf('square'), rate: RATE, seconds: LONGEST_SECONDS, hiccups: true });
    others.hold(process.pid);
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
    const what = `server and client with a CPU of their own, until the cutover`;
    const bad = { name: `lost, duplicated or wrong, server and client with a CPU of their own`, unit: 'requests' };
    return [
      { ...bad, summary: summarise([lost, duplicated, wrong]), maxBar: 0 },
      ...latencyFigures(what, defined(byLabel[UNTIL_CUTOVER], 'migrations in the window'), control, true),
      ...[
        { name: 'freeze, CPU of its own', summary: summarise(millis(moved, (each) => each.freezeUs)) },
        { name: 'cutover, CPU of its own', summary: summarise(millis(moved, (each) => each.cutoverUs)) },
      ].map((each) => ({ ...each, unit: 'ms' })),
    ];
  });
}
