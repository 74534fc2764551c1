/**
 * `npm run soak`: one sandbox moves there and back again and again under load, and at the end nothing is there that was
 * not there before: no process, descriptor, file or kernel object more.
 *
 *     npm run soak -- --count 3000 --rate 2000 --mode replicated
 *     npm run soak -- --count 100 --rate 10000
 *     npm run soak -- --mode replicated,postcopy,precopy,stopcopy      in turns
 *     npm run soak -- --resume                                         goes on after Ctrl-C, or after it was killed
 *
 * Ctrl-C ends it after the migration that is under way; what it has found so far is told and kept.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { soak } from './soak.ts';
import { dropState, loadState, noTotals, renderTotals, type SoakState, saveState } from './totals.ts';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '2000' },
    mode: { type: 'string', default: '' },
    resume: { type: 'boolean', default: false },
    state: { type: 'string', default: join(import.meta.dirname, '../../.soak.json') },
    json: { type: 'boolean', default: false },
  },
});

function fail(problem: string): never {
  process.stderr.write(`soak: ${problem}\n`);
  process.exit(2);
}

function plan(): SoakState {
  const kept = loadState(values.state);
  if (values.resume) return kept ?? fail(`there is nothing to resume in ${values.state}`);
  const [count, rate] = [Number(values.count), Number(values.rate)];
  if (!Number.isInteger(count) || count < 1) fail(`--count '${values.count}' is not a whole number`);
  if (!(rate >= 1)) fail(`--rate '${values.rate}' is not a number of requests a second`);
  const modes = values.mode === '' ? [] : values.mode.split(',');
  return { version: 1, count, rate, modes, totals: noTotals() };
}

const state = plan();
const { count, rate, modes, totals } = state;
if (values.resume) process.stderr.write(`going on behind ${totals.migrations} of ${count} migrations\n`);
const interrupted = new AbortController();
process.once('SIGINT', () => {
  process.stderr.write('  ending after this migration\n');
  interrupted.abort();
});
const outcome = await soak({
  ...{ count, rate, modes, totals, signal: interrupted.signal },
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
