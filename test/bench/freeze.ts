/**
 * How long a process stands still for a snapshot that is made by forking it, from the first interrupt to the last thread let
 * go. The engine alone, on this machine and without a network.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { summarise } from '../../src/base/stats.ts';
import { PageFinder } from '../../src/linux/pagemap.ts';
import { parseMaps, readProc } from '../../src/linux/procfs.ts';
import { Rehearsal } from '../../src/sdaemon/migration/rehearsal.ts';
import { warmEngine } from '../../src/sdaemon/migration/warm-engine.ts';
import { NODE, PYTHON, program } from '../engine/support/cage.ts';
import { facts, files, open, Resident } from '../engine/support/engine.ts';
import type { BenchOptions, Figure } from './figure.ts';

const PORT = 7193;
const SNAPSHOTS = 100;
const SNAPSHOTS_OF_LARGE = 20;
/** Of the curve. */
const SIZES_MB = [16, 64, 256, 1024, 4096];
const ROUNDS_OF_CURVE = 8;
const PAUSE_MS = 10;

const home = join(import.meta.dirname, '../..');
const BUILT = join(home, 'dist/traffic/server/main.js');
const SERVER = existsSync(BUILT) ? BUILT : join(home, 'src/traffic/server/main.ts');

const node = (...more: readonly string[]): string[] => [
  NODE,
  '--max-semi-space-size=1',
  '--v8-pool-size=1',
  SERVER,
  '--port',
  String(PORT),
  '--count',
  ...more,
];
/** As in the examples. */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '1' };
const DNSMASQ = [
  '/usr/sbin/dnsmasq',
  ...['--keep-in-foreground', '--log-facility=-', '--user=root', '--conf-file=/dev/null', '--pid-file=', '--no-resolv'],
  ...['--no-hosts', '--no-poll', `--port=${PORT}`, '--address=/square.comicran.example/10.88.0.5'],
];

/** Small pages, as a C program with much data has them. */
const FILL = (megabytes: number): string =>
  `import mmap
memory = mmap.mmap(-1, ${megabytes} << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(memory), 4096): memory[at] = 1`;

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Megabytes of pages that only the process has. */
function ownMegabytes(pid: number): number {
  const finder = new PageFinder(pid, facts.pagemapScan);
  try {
    let bytes = 0n;
    for (const { start, end, name } of parseMaps(readProc(pid, 'maps'))) {
      if (name === '[vsyscall]') continue;
      for (const span of finder.ownPages(start, end)) bytes += span.end - span.start;
    }
    return Math.round(Number(bytes >> 10n) / 1024);
  } finally {
    finder.close();
  }
}

/** Milliseconds of each freeze. */
async function freezes(pid: number, count: number): Promise<number[]> {
  // As a migration does.
  using rehearsal = Rehearsal.start(facts, files);
  using source = open(pid, { rehearse: rehearsal.run });
  const found: number[] = [];
  for (let round = 0; round < count; round++) {
    using snapshot = source.snapshot();
    found.push(snapshot.freezeMicros / 1000);
    await pause(PAUSE_MS);
  }
  return found;
}

async function measure(
  name: string,
  argv: readonly string[],
  count: number,
  bars: Omit<Figure, 'name' | 'unit' | 'summary'>,
  prepare: (resident: Resident) => Promise<void> = async () => undefined,
): Promise<Figure> {
  await using resident = await Resident.start(argv, { environment: ENVIRONMENT });
  await pause(500);
  await prepare(resident);
  const megabytes = ownMegabytes(resident.pid);
  const summary = summarise(await freezes(resident.pid, count));
  return { name: `freeze by fork, ${name}, ${megabytes} MB`, unit: 'ms', summary, ...bars };
}

async function fill({ cage }: Resident, megabytes: number): Promise<void> {
  await cage.askUntilAnswered(PORT, '1');
  if (cage.ask(PORT, FILL(megabytes), 60_000) !== 'None') throw new Error('the process does not answer');
}

export async function freezeFigures({ count }: BenchOptions): Promise<Figure[]> {
  warmEngine(facts, files);
  const rounds = Math.max(count ?? SNAPSHOTS, 10);
  const answered = async ({ cage }: Resident): Promise<void> => {
    for (let request = 0; request < 50; request++) await cage.askUntilAnswered(PORT, String(request + 1));
  };
  const python = [PYTHON, program('repl.py'), String(PORT)];
  const figures = [
    await measure('dnsmasq', DNSMASQ, rounds, { medianBar: 1.5, minBar: 0.8, aim: '≤ 0.5' }),
    await measure('Node server', node(), rounds, { medianBar: 3, minBar: 1.5, aim: '≤ 1' }, answered),
    await measure('Node server with 1 GB', node('--memory', '1G'), Math.min(rounds, SNAPSHOTS_OF_LARGE), {}, answered),
  ];
  for (const megabytes of SIZES_MB) {
    const filled = (resident: Resident): Promise<void> => fill(resident, megabytes);
    figures.push(await measure(`${megabytes} MB in small pages`, python, ROUNDS_OF_CURVE, {}, filled));
  }
  return figures;
}
