/**
 * What clients see of a hundred migrations in the best mode that there is, at two rates: what is lost, doubled or wrong,
 * and how long the requests took that were in flight during a migration, against the others of the same run.
 */
import { summarise } from '../../src/base/stats.ts';
import type { ClientFigures, MigrationFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { start } from '../support/lab.ts';
import type { Manager } from '../support/manager.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { single } from './figure.ts';
import { inLab, millis, moveOften, offeredModes, serviceOf } from './lab.ts';
import { latencyFigures, quietly } from './latency.ts';

const MIGRATIONS = 100;
/** As long as a migration or longer, so that the control is as large as what is compared with it. */
const PAUSE_MS = 400;
const LONGEST_SECONDS = 1800;
const ALL = 'migration';

type Run = { readonly migrations: readonly MigrationFigures[]; readonly client: ClientFigures };

async function underLoad(manager: Manager, mode: string, rate: number, count: number): Promise<Run> {
  const load = new Load({ service: await serviceOf('square'), rate, seconds: LONGEST_SECONDS, hiccups: true });
  let migrations: MigrationFigures[] = [];
  try {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    migrations = await moveOften(manager, 'square', {
      ...{ mode, count, pauseMs: PAUSE_MS },
      onMoved(moved, round) {
        load.mark(ALL, moved);
        load.mark(`${round}`, moved);
      },
    });
  } catch (thrown) {
    await load.end().catch(() => undefined);
    throw thrown;
  }
  return { migrations, client: await load.end() };
}

function counts(what: string, { client }: Run, lostBar: number): Figure[] {
  const { sent, lost, duplicated, wrong, reordered, counter } = client;
  const twice = counter === null ? 0 : counter.repeated + counter.missing;
  const count = (name: string, value: number, maxBar?: number): Figure => ({
    name: `${name}, ${what}`,
    unit: 'requests',
    summary: single(value),
    ...(maxBar === undefined ? {} : { maxBar }),
  });
  return [
    count('sent', sent),
    count('lost', lost, lostBar),
    count('duplicated', duplicated, 0),
    count('wrong', wrong, 0),
    count('counted without an answer, or twice', twice, lostBar),
    count('reordered', reordered),
  ];
}

/** By how many milliseconds the latest request of each migration was later than it may be: its own freeze and cutover,
 * and the latest of the control. Stalls of the platform apart. */
function tooLate({ migrations, client }: Run): number[] {
  const windows = client.windows!;
  const allowed = quietly(windows.control).latencyUs.max;
  return migrations.flatMap(({ freezeUs, cutoverUs, stopUs }, round) => {
    const own = windows.byLabel[`${round}`];
    const max = own && quietly(own).latencyUs.max;
    const stopped = freezeUs === null || cutoverUs === null ? stopUs : freezeUs + cutoverUs;
    return max == null ? [] : [(max - stopped - allowed) / 1000];
  });
}

function latency(what: string, mode: string, run: Run): Figure[] {
  const windows = run.client.windows!;
  const late = tooLate(run);
  return [
    ...latencyFigures(what, windows.byLabel[ALL]!, windows.control, mode === 'replicated'),
    ...(late.length === 0
      ? []
      : [
          {
            name: `latest request beyond freeze, cutover and the control's latest, ${what}`,
            unit: 'ms',
            summary: summarise(late),
            ...(mode === 'replicated' ? { maxBar: 0 } : {}),
          },
        ]),
  ];
}

function stops(what: string, mode: string, { migrations }: Run): Figure[] {
  const cutover = millis(migrations, (each) => each.cutoverUs);
  const freeze = millis(migrations, (each) => each.freezeUs);
  const stop = millis(migrations, (each) => each.stopUs);
  return [
    { name: `stop in ${mode}, ${what}`, unit: 'ms', summary: summarise(stop) },
    ...(freeze.length === 0
      ? []
      : [
          {
            ...{ name: `freeze, Node server, ${what}`, unit: 'ms', summary: summarise(freeze) },
            ...{ medianBar: 3, minBar: 1.5, aim: '1' },
          },
        ]),
    ...(cutover.length === 0
      ? []
      : [
          {
            ...{ name: `cutover, ${what}`, unit: 'ms', summary: summarise(cutover) },
            ...{ medianBar: 1, minBar: 0.5, aim: '0.2' },
          },
        ]),
  ];
}

export async function trafficFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  return await inLab(async (manager) => {
    await start('square.yaml', 'vm1');
    const [mode = 'stopcopy'] = await offeredModes('square');
    const figures: Figure[] = [];
    for (const rate of [2000, 10_000]) {
      const what = `${count} migrations at ${rate}/s`;
      const run = await underLoad(manager, mode, rate, count);
      let allowed = 0;
      if (rate > 2000) {
        // What this machine loses at such a rate without a migration.
        const seconds = run.client.sent / rate;
        const control = await new Load({ service: await serviceOf('square'), rate, seconds, hiccups: true }).finished();
        figures.push({
          name: `lost without a migration at ${rate}/s`,
          unit: 'requests',
          summary: single(control.lost),
        });
        allowed = control.lost;
      }
      figures.push({
        ...{ name: `not moved, ${what}`, unit: 'migrations', maxBar: 0 },
        summary: single(count - run.migrations.length),
      });
      figures.push(...counts(what, run, allowed), ...stops(what, mode, run), ...latency(what, mode, run));
    }
    return figures;
  });
}
