/** The stop against the size of the process: in which modes does it matter how much there is to move? */
import { summarise } from '../../src/base/stats.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { startServer } from '../support/server-config.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { single } from './figure.ts';
import { inLab, millis, moveOften, offeredModes } from './lab.ts';

const MIGRATIONS = 6;
const SIZES = ['64M', '1G'] as const;
/** The stop of a 1 GB process, as a multiple of that of a 64 MB process. */
const POSTCOPY_RATIO_BAR = 1.3;

export async function sizeFigures({ count = MIGRATIONS }: BenchOptions): Promise<Figure[]> {
  const rounds = Math.min(count, MIGRATIONS);
  return await inLab(async (manager) => {
    const figures: Figure[] = [];
    const medians = new Map<string, number[]>();
    for (const size of SIZES) {
      await startServer({ id: 'sized', options: ['--memory', size], address: '10.88.0.60', service: 5060 }, 'vm1');
      for (const mode of await offeredModes('sized')) {
        const migrations = await moveOften(manager, 'sized', { mode, count: rounds, pauseMs: 200 });
        const stop = summarise(millis(migrations, (each) => each.stopUs));
        medians.set(mode, [...(medians.get(mode) ?? []), stop.median]);
        figures.push({ name: `stop in ${mode}, ${size} of memory`, unit: 'ms', summary: stop });
        const freeze = millis(migrations, (each) => each.freezeUs);
        if (freeze.length > 0) {
          figures.push({ name: `freeze in ${mode}, ${size} of memory`, unit: 'ms', summary: summarise(freeze) });
        }
      }
      await runComicran(['smanager', 'terminate', 'sized']);
    }
    for (const [mode, [small = 1, large = 1]] of medians) {
      const name = `stop in ${mode}, ${SIZES[1]} against ${SIZES[0]}`;
      const bar = mode === 'postcopy' ? { maxBar: POSTCOPY_RATIO_BAR } : {};
      figures.push({ name, unit: 'times', summary: single(large / small), ...bar });
    }
    return figures;
  });
}
