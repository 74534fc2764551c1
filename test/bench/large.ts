/** The freeze of a large server that is moved by `replicated` under load: tracked, and beside it by a fork, in turn. */
import { summarise } from '../../src/base/stats.ts';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';
import { Load } from '../../src/lab/demo/load.ts';
import { startServer } from '../support/server-config.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { inLab, millis, moveOften, serviceOf } from './lab.ts';

const MIGRATIONS = 10;
const SIZE = '1G';
const RATE = 500;
/** So many pages are written with each request. */
const TOUCHED = '2';
const WAYS = ['tracked', 'fork'] as const;

export async function largeFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  const rounds = Math.min(count, MIGRATIONS);
  return await inLab(async (manager) => {
    const options = ['--memory', SIZE, '--touch', TOUCHED];
    await startServer({ id: 'large', options, address: '10.88.0.61', service: 5061 }, 'vm1');
    const load = new Load({ service: await serviceOf('large'), rate: RATE, seconds: 1200 });
    const moved = new Map<string, MigrationFigures[]>(WAYS.map((way) => [way, []]));
    try {
      for (let round = 0; round < rounds; round++)
        for (const way of WAYS) {
          const more = ['--snapshot', way];
          moved
            .get(way)!
            .push(...(await moveOften(manager, 'large', { mode: 'replicated', count: 1, pauseMs: 300, more })));
        }
    } finally {
      const { sent, lost, duplicated, wrong, exactlyOnce } = await load.end();
      process.stderr.write(
        `  client: ${sent} sent, ${lost} lost, ${duplicated} duplicated, ${wrong} wrong, exactly once: ${exactlyOnce}\n`,
      );
    }
    const ofWay = (way: (typeof WAYS)[number]): MigrationFigures[] =>
      moved.get(way)!.filter(({ snapshot }) => snapshot === way);
    const figure = (way: (typeof WAYS)[number], bars: Pick<Figure, 'medianBar' | 'minBar' | 'aim'>): Figure[] => {
      const found = ofWay(way);
      if (found.length === 0) throw new Error(`no migration of ${SIZE} was ${way === 'fork' ? 'forked' : way}`);
      const what = `${SIZE}, replicated under load, ${way}`;
      return [
        { name: `freeze, ${what}`, unit: 'ms', summary: summarise(millis(found, (each) => each.freezeUs)), ...bars },
        { name: `most behind, ${what}`, unit: 'datagrams', summary: summarise(found.map(({ lagMax }) => lagMax ?? 0)) },
        { name: `in all, ${what}`, unit: 'ms', summary: summarise(found.map(({ totalMs }) => totalMs)) },
      ];
    };
    return [...figure('tracked', { medianBar: 8, minBar: 5, aim: '1' }), ...figure('fork', {})];
  });
}
