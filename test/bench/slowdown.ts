/** How much less a server answers while it is being copied, when it is asked as fast as it can answer. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { summarise } from '../../src/base/stats.ts';
import type { MigrationFigures } from '../../src/lab/demo/figures.ts';
import { parseJsonOutput, runComicran, startComicran } from '../../src/lab/demo/program.ts';
import { find } from '../support/lab.ts';
import { type Manager, NotMoved } from '../support/manager.ts';
import { startServer } from '../support/server-config.ts';
import type { BenchOptions, Figure } from './figure.ts';
import { inLab, offeredModes, serviceOf } from './lab.ts';
import type { OwnCpu } from './own-cpu.ts';
import type { Saturation } from './saturate.ts';

const ROUNDS = 8;
const MEMORY = '256M';
const OUTSTANDING = 32;
const FLOOR_PERCENT = 85;
/** How long the control before each migration is. */
const CONTROL_MS = 1000;

/** The modes in which the source answers while it is copied, with the phase in which it does so no more. */
const STOPPING_PHASE: Readonly<Record<string, string>> = { replicated: 'commit', precopy: 'capture' };

type Span = { readonly fromUnixUs: number; readonly toUnixUs: number };
type Measured = { readonly control: Span; readonly copying: Span };

const nowUnixUs = (): number => (performance.timeOrigin + performance.now()) * 1000;

/** While the source was copied; where it was given up because the copy did not catch up, the whole attempt. */
async function copy(manager: Manager, id: string, mode: string): Promise<Span> {
  const at = (await find(id))?.vm;
  const fromUnixUs = nowUnixUs();
  try {
    const more = mode === 'replicated' ? { fallback: 'none' } : {};
    const words = { mode, ...more, more: ['--deadline', '8'] };
    const moved: MigrationFigures = await manager.migrate(id, at === 'vm1' ? 'vm2' : 'vm1', words);
    const stopping = moved.phases.find(({ phase }) => phase === STOPPING_PHASE[mode]);
    const length = stopping?.startUs ?? moved.totalMs * 1000;
    return { fromUnixUs: moved.beganUnixUs, toUnixUs: moved.beganUnixUs + length };
  } catch (thrown) {
    if (!(thrown instanceof NotMoved)) throw thrown;
    process.stderr.write(`  ${mode}: not moved: ${thrown.message}\n`);
    return { fromUnixUs, toUnixUs: nowUnixUs() };
  }
}

/** Answers a second in a span, by whole buckets. */
function rateIn({ startUnixUs, bucketMs, answers }: Saturation, { fromUnixUs, toUnixUs }: Span): number {
  const bucketOf = (unixUs: number): number => Math.floor((unixUs - startUnixUs) / 1000 / bucketMs);
  const [from, to] = [Math.max(0, bucketOf(fromUnixUs) + 1), bucketOf(toUnixUs)];
  const sum = answers.slice(from, to).reduce((all, one) => all + one, 0);
  return to > from ? (sum * 1000) / ((to - from) * bucketMs) : Number.NaN;
}

/**
 * Without a share server, copy, both daemons and who asks take the same CPUs from one another, which virtual machines do not;
 * with one the server is at its own limit, and what it loses is lost by being copied.
 */
const SHARES = [
  { id: 'busy', limits: {}, words: '' },
  { id: 'busy-share', limits: { limits: { cpuPercent: 20 } }, words: ', with a fifth of a CPU' },
] as const;
/** Or server and who asks it have a CPU of their own, and the copying takes none of it. */
const APART = { id: 'busy-apart', limits: {}, words: ', with a CPU of its own and of who asks' } as const;
type Share = (typeof SHARES)[number] | typeof APART;

export async function slowdownFigures({ count = ROUNDS }: BenchOptions): Promise<Figure[]> {
  return await inLab(async (manager) => {
    const figures: Figure[] = [];
    for (const [index, share] of SHARES.entries()) figures.push(...(await slowdownWith(share, index, manager, count)));
    return figures;
  });
}

export async function slowdownApart(manager: Manager, own: OwnCpu, count: number): Promise<Figure[]> {
  return await slowdownWith(APART, SHARES.length, manager, count, own);
}

async function slowdownWith(
  share: Share,
  index: number,
  manager: Manager,
  count: number,
  own?: OwnCpu,
): Promise<Figure[]> {
  const options = ['--memory', MEMORY, '--touch', '1'];
  const place = { address: `10.88.0.${61 + index}`, service: 5061 + index };
  await startServer({ id: share.id, options, ...place, more: share.limits }, 'vm1');
  const modes = (await offeredModes(share.id)).filter((mode) => mode in STOPPING_PHASE);
  if (modes.length === 0) process.stderr.write('  no mode is offered in which the source answers while it is copied\n');
  const figures: Figure[] = [];
  for (const mode of modes) figures.push(...(await slowdownOf(share, mode, manager, Math.min(count, ROUNDS), own)));
  await runComicran(['smanager', 'terminate', share.id]);
  return figures;
}

async function slowdownOf(
  { id, words }: Share,
  mode: string,
  manager: Manager,
  rounds: number,
  own?: OwnCpu,
): Promise<Figure[]> {
  const [host = '', port = ''] = (await serviceOf(id)).split(':');
  const script = [process.execPath, join(import.meta.dirname, 'saturate.ts'), host, port, `${OUTSTANDING}`];
  const ask = () => startComicran(['lab', 'exec', 'ue', '--', ...script]);
  await own?.give(id);
  const asking = own?.starting(ask) ?? ask();
  asking.finished.catch(() => undefined);
  const measured: Measured[] = [];
  try {
    await sleep(1000);
    for (let round = 0; round < rounds; round++) {
      const fromUnixUs = nowUnixUs();
      await sleep(CONTROL_MS);
      const control = { fromUnixUs, toUnixUs: nowUnixUs() };
      measured.push({ control, copying: await copy(manager, id, mode) });
      await own?.give(id);
      await sleep(300);
    }
  } finally {
    asking.stop();
  }
  const saturation = parseJsonOutput(await asking.finished) as Saturation;
  const rates = (pick: (each: Measured) => Span): number[] =>
    measured.map((each) => rateIn(saturation, pick(each))).filter((rate) => !Number.isNaN(rate));
  const percent = measured
    .map(({ control, copying }) => (100 * rateIn(saturation, copying)) / rateIn(saturation, control))
    .filter((value) => !Number.isNaN(value));
  return [
    {
      name: `answers at saturation${words}, control of ${mode}`,
      unit: '/s',
      summary: summarise(rates((each) => each.control)),
    },
    {
      ...{ name: `answers at saturation${words}, while copied in ${mode}, of the control`, unit: '%' },
      ...{ summary: summarise(percent), medianFloor: FLOOR_PERCENT, aim: '95' },
    },
  ];
}
