/**
 * From the command to the root process running: jailor beside what a system has for the same. All run the same
 * program in the same root directory, in turns, so that a disturbance hits all. The others make no link and no addresses;
 * crun makes a cgroup with limits, a user namespace and a filter of system calls, as jailor does.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { summarise } from '../../src/base/stats.ts';
import { becomeVm, PROGRAM, testConfig } from '../jailor/support.ts';
import { crunCommand } from './crun.ts';
import { type Figure, single } from './figure.ts';

const ROUNDS = 15;
const MEDIAN_BAR_MS = 100;
const SCRIPT = 'echo running; read line';

/** Milliseconds from the start of a command to the first thing that its root process says. */
async function timeToOutput(command: string, words: readonly string[]): Promise<number> {
  const started = performance.now();
  const child: ChildProcess = spawn(command, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const first = await Promise.race([once(child.stdout!, 'data'), closed]);
  const took = performance.now() - started;
  child.stdin!.end('\n');
  await closed;
  if (!String(first[0]).startsWith('running')) throw new Error(`${command} ended without a word from its root process`);
  return took;
}

export async function jailorFigures(rounds = ROUNDS): Promise<Figure[]> {
  const vm = becomeVm();
  const directory = mkdtempSync(join(tmpdir(), 'comicran-bench-'));
  try {
    // crun's root is nobody on this machine, and has to get to its root directory.
    chmodSync(directory, 0o755);
    const config = testConfig({ script: SCRIPT });
    // As configer writes it.
    const file = join(directory, 'full.yaml');
    writeFileSync(file, stringify(config));
    const root = join(directory, 'plain-root');
    for (const entry of config.files) {
      mkdirSync(dirname(join(root, entry.path)), { recursive: true });
      copyFileSync(entry.source, join(root, entry.path));
      chmodSync(join(root, entry.path), entry.mode);
    }
    const sh = ['/bin/sh', '-c', SCRIPT];
    const commands: Record<string, readonly string[]> = {
      'jailor run': [PROGRAM, 'jailor', 'run', file, '--state', directory],
      'unshare + chroot': [
        'unshare',
        '--net',
        '--pid',
        '--fork',
        '--mount',
        '--uts',
        '--ipc',
        '--cgroup',
        'chroot',
        root,
        ...sh,
      ],
      bwrap: ['bwrap', '--unshare-all', '--ro-bind', root, '/', '--proc', '/proc', '--dev', '/dev', ...sh],
    };
    const crun = crunCommand(join(directory, 'bundle'), root, sh);
    if (crun === undefined) process.stderr.write('  crun is not installed (Debian package crun)\n');
    else commands['crun'] = crun;
    for (const path of ['proc', 'dev', 'sys']) mkdirSync(join(root, path), { recursive: true });
    const times = new Map(Object.keys(commands).map((name) => [name, [] as number[]]));
    // The first round fills the store and the caches, and does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const [name, [command = '', ...words]] of Object.entries(commands)) {
        const took = await timeToOutput(command, words);
        if (round > 0) times.get(name)!.push(took);
      }
    }
    const summaries = [...times].map(([name, values]) => ({ name, summary: summarise(values) }));
    const own = summaries[0]!.summary.median;
    return [
      ...summaries.map(({ name, summary }, index) => ({
        name: `command to root process: ${name}`,
        unit: 'ms',
        summary,
        ...(index === 0 ? { medianBar: MEDIAN_BAR_MS } : {}),
      })),
      ...summaries.slice(1).map(({ name, summary }) => ({
        name: `command to root process: jailor run to ${name}, of medians`,
        unit: 'times',
        summary: single(own / summary.median),
      })),
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
    vm.close();
  }
}
