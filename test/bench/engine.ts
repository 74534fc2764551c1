/**
 * The engine alone, on this machine and without a network: where the time of a stop goes, step by step. What a migration
 * adds to it (the state channel, two machines, ownership) is in the figures of stopcopy.
 */
import { summarise } from '../../src/base/stats.ts';
import { beginRestore } from '../../src/restore/begin-restore.ts';
import { warmEngine } from '../../src/sdaemon/migration/warm-engine.ts';
import { Cage, NODE, program } from '../engine/support/cage.ts';
import { facts, files, open } from '../engine/support/engine.ts';
import type { Figure } from './figure.ts';

const ROUNDS = 15;
const PORT = 7190;
const TARGETS: Readonly<Record<string, readonly string[]>> = {
  node: [NODE, program('app.cjs'), String(PORT)],
  socat: ['/usr/bin/socat', `UDP4-RECVFROM:${PORT},fork`, 'SYSTEM:cat'],
};

/** Milliseconds by step, one entry a round. */
type Steps = Map<string, number[]>;

/** Moves the process to another cage and notes how long each step took. @returns its new PID. */
function moveTimed(pid: number, hatchery: number, buffer: Buffer, steps: Steps): number {
  let last = 0n;
  const note = (step: string, from: bigint): void => {
    const list = steps.get(step) ?? [];
    list.push(Number(process.hrtime.bigint() - from) / 1e6);
    steps.set(step, list);
  };
  const reach = (point: string): void => {
    if (!point.startsWith('inspect.')) note(point, last);
    last = process.hrtime.bigint();
  };
  using source = open(pid, { faults: { reach } });
  last = process.hrtime.bigint();
  const begin = last;
  const frozen = source.freeze();
  const bytes = buffer.subarray(
    0,
    frozen.pages.reduce((sum, { length }) => sum + length, 0),
  );
  frozen.readPages(frozen.pages, bytes);
  reach('pages read');
  const restoring = beginRestore(frozen.image, hatchery, { facts, files, faults: { reach } });
  restoring.writePages(frozen.pages, bytes);
  restoring.finish();
  restoring.run();
  reach('running');
  note('whole', begin);
  frozen.kill();
  return restoring.pid;
}

async function measure(name: string, argv: readonly string[]): Promise<Figure[]> {
  const buffer = Buffer.alloc(128 << 20, 1);
  const steps: Steps = new Map();
  let cage = await Cage.make();
  try {
    let pid = await cage.start(argv);
    await new Promise((resolve) => setTimeout(resolve, 500));
    for (let round = 0; round < ROUNDS; round++) {
      const next = await Cage.make();
      try {
        pid = moveTimed(pid, await next.hatchery(), buffer, steps);
      } finally {
        await cage.remove();
        cage = next;
      }
    }
  } finally {
    await cage.remove();
  }
  return [...steps].map(([step, values]) => ({ name: `${name}: ${step}`, unit: 'ms', summary: summarise(values) }));
}

export async function engineFigures(): Promise<Figure[]> {
  warmEngine(facts, files);
  const figures: Figure[] = [];
  for (const [name, argv] of Object.entries(TARGETS)) figures.push(...(await measure(name, argv)));
  return figures;
}
