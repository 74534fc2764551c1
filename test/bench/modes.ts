/** The stop in each mode, under load: the project's Node server, and a C service from Debian. */
import { summarise } from '../../src/base/stats.ts';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { start } from '../support/lab.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { inLab, millis, moveOften, offeredModes, serviceOf } from './lab.ts';

const MIGRATIONS = 30;
const RATE = 1000;

type Bars = Pick<Figure, 'medianBar' | 'minBar' | 'aim'>;

const STOP_BARS: Readonly<Record<string, { readonly node: Bars; readonly small: Bars }>> = {
  stopcopy: { node: { medianBar: 80 }, small: { medianBar: 40 } },
  postcopy: { node: { medianBar: 20, aim: '10' }, small: {} },
};
const FREEZE_BARS = {
  node: { medianBar: 3, minBar: 1.5, aim: '1' },
  small: { medianBar: 1.5, minBar: 0.8, aim: '0.5' },
} as const satisfies Record<string, Bars>;
const CUTOVER_BARS: Bars = { medianBar: 1, minBar: 0.5, aim: '0.2' };

function figuresOf(
  kind: 'node' | 'small',
  what: string,
  mode: string,
  migrations: readonly MigrationFigures[],
): Figure[] {
  const stop = millis(migrations, (each) => each.stopUs);
  const freeze = millis(migrations, (each) => each.freezeUs);
  const cutover = millis(migrations, (each) => each.cutoverUs);
  const figure = (name: string, values: readonly number[], bars: Bars): Figure[] =>
    values.length === 0
      ? []
      : [{ name: `${name} in ${mode}, ${what}`, unit: 'ms', summary: summarise(values), ...bars }];
  return [
    ...figure('stop', stop, STOP_BARS[mode]?.[kind] ?? {}),
    ...figure('freeze', freeze, FREEZE_BARS[kind]),
    ...figure('cutover', cutover, CUTOVER_BARS),
  ];
}

export async function modeFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  return await inLab(async (manager) => {
    const figures: Figure[] = [];
    await start('square.yaml', 'vm1');
    const modes = await offeredModes('square');
    const load = new Load({ service: await serviceOf('square'), rate: RATE, seconds: 1200 });
    try {
      for (const mode of modes) {
        const migrations = await moveOften(manager, 'square', { mode, count, pauseMs: 300 });
        figures.push(...figuresOf('node', 'Node server under load', mode, migrations));
      }
    } finally {
      const { sent, lost, duplicated, wrong, exactlyOnce } = await load.end();
      process.stderr.write(
        `  client: ${sent} sent, ${lost} lost, ${duplicated} duplicated, ${wrong} wrong, exactly once: ${exactlyOnce}\n`,
      );
    }
    await runComicran(['smanager', 'terminate', 'square']);

    await start('dnsmasq.yaml', 'vm1');
    for (const mode of await offeredModes('dnsmasq')) {
      const migrations = await moveOften(manager, 'dnsmasq', { mode, count, pauseMs: 100 });
      figures.push(...figuresOf('small', 'dnsmasq', mode, migrations));
    }
    return figures;
  });
}
