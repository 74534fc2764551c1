/** The stop that clients see in mode `stopcopy`, under load: the project's Node server and a C service from Debian. */
import { summarise } from '../../src/base/stats.ts';
import { runComicran } from '../../src/lab/demo/program.ts';
import { client, find, migrate, start } from '../support/lab.ts';
import type { Figure } from './figure.ts';

const MIGRATIONS = 30;
const RATE = 1000;

/** Moves `name` there and back and collects the stops in milliseconds. */
async function stops(name: string, count: number): Promise<number[]> {
  const found: number[] = [];
  for (let round = 0; round < count; round++) {
    const moved = await migrate(name, round % 2 === 0 ? 'vm2' : 'vm1');
    found.push(moved.stopMs);
    process.stderr.write(
      `  ${name} ${round + 1}/${count}: stopped ${moved.stopMs.toFixed(1)} ms, ${moved.pages} pages\n`,
    );
  }
  return found;
}

export async function stopcopyFigures(): Promise<Figure[]> {
  await runComicran(['lab', 'up']);
  try {
    await start('square.yaml', 'vm1');
    const service = (await find('square'))?.service;
    if (!service) throw new Error('the server has no service');
    const load = client(service, RATE, MIGRATIONS * 1.2 + 5);
    load.catch(() => undefined);
    const node = await stops('square', MIGRATIONS);
    const report = await load;
    const { sent, lost, duplicated, wrong, exactlyOnce } = report;
    process.stderr.write(
      `  client: ${sent} sent, ${lost} lost, ${duplicated} duplicated, ${wrong} wrong, exactly once: ${exactlyOnce}\n`,
    );
    await runComicran(['smanager', 'terminate', 'square']);

    await start('dnsmasq.yaml', 'vm1');
    const c = await stops('dnsmasq', MIGRATIONS);
    return [
      { name: 'stop in stopcopy, Node server under load', unit: 'ms', summary: summarise(node), medianBar: 80 },
      { name: 'stop in stopcopy, dnsmasq', unit: 'ms', summary: summarise(c), medianBar: 40 },
    ];
  } finally {
    await runComicran(['lab', 'down']);
  }
}
