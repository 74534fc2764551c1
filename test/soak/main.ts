/**
 * `npm run soak`: one sandbox moves there and back again and again under load, and at the end nothing is there that was
 * not there before: no process, descriptor, file or kernel object more.
 */
import { join } from 'node:path';
import { Command } from 'commander';
import { vmsOption } from '../../src/cli/verbs/lab.ts';
import type { MachineCount } from '../../src/lab/layout.ts';
import { atLeastOne } from '../support/options.ts';
import { soak } from './soak.ts';
import { dropState, loadState, noTotals, renderTotals, type SoakState, saveState } from './totals.ts';

type Options = {
  readonly count: number;
  readonly rate: number;
  readonly mode?: string[];
  readonly vms?: MachineCount;
  readonly resume: boolean;
  readonly state: string;
  readonly json: boolean;
};

const values = new Command('npm run soak --')
  .description(
    'Moves one sandbox there and back again and again under load; then nothing may be there that was not before.',
  )
  .option('--count <n>', 'migrations', atLeastOne, 1000)
  .option('--rate <n>', 'requests a second', atLeastOne, 2000)
  .option('--mode <modes>', 'one, or several with commas between, in turns (default: replicated)', (text: string) =>
    text.split(','),
  )
  .addOption(vmsOption('between real virtual machines; try --rate 20'))
  .option('--resume', 'goes on after Ctrl-C, or after it was killed, with what it was begun with', false)
  .option('--state <file>', 'where it keeps how far it is', join(import.meta.dirname, '../../.soak.json'))
  .option('--json', 'the result as one line of JSON, last', false)
  .addHelpText(
    'after',
    `
Ctrl-C ends it after the migration that is under way; what it has found so far is told and kept.

Examples:
  npm run soak -- --count 3000 --rate 2000
  npm run soak -- --count 100 --rate 10000
  npm run soak -- --mode replicated,postcopy,precopy,stopcopy
  npm run soak -- --vms --count 20 --rate 20
  npm run soak -- --resume`,
  )
  .parse()
  .opts<Options>();

function fail(problem: string): never {
  process.stderr.write(`soak: ${problem}\n`);
  process.exit(2);
}

function plan(): SoakState {
  const kept = loadState(values.state);
  if (values.resume) return kept ?? fail(`there is nothing to resume in ${values.state}`);
  return {
    version: 1,
    count: values.count,
    rate: values.rate,
    modes: values.mode ?? [],
    vms: values.vms,
    totals: noTotals(),
  };
}

const state = plan();
const { count, rate, modes, vms, totals } = state;
if (values.resume) process.stderr.write(`going on behind ${totals.migrations} of ${count} migrations\n`);
const interrupted = new AbortController();
process.once('SIGINT', () => {
  process.stderr.write('  ending after this migration\n');
  interrupted.abort();
});
const outcome = await soak({
  ...{ count, rate, modes, vms, totals, signal: interrupted.signal },
  say: (text) => void process.stderr.write(text),
  onBatch: () => saveState(values.state, state),
});
const complete = outcome.migrations >= count;
if (complete) dropState(values.state);
else saveState(values.state, state);

for (const problem of outcome.problems) process.stdout.write(`LEFT BEHIND OR WRONG: ${problem}\n`);
process.stdout.write(renderTotals(totals));
if (!complete) process.stdout.write("not complete; 'npm run soak -- --resume' goes on\n");
process.stdout.write(
  `${outcome.migrations} migrations, ${outcome.answered} requests answered, ${outcome.problems.length} problems\n`,
);
if (values.json) process.stdout.write(`${JSON.stringify({ ...state, complete })}\n`);
process.exitCode = outcome.problems.length > 0 || !complete ? 1 : 0;
