/**
 * `npm run soak`: one sandbox moves there and back again and again under load, and at the end nothing is there that was
 * not there before: no process, descriptor, file or kernel object more.
 *
 * `npm run soak -- --count 50 --rate 2000`
 */
import { parseArgs } from 'node:util';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: { count: { type: 'string', default: '200' }, rate: { type: 'string', default: '1000' } },
});
const count = Number(values.count);
const outcome = await soak({
  count,
  rate: Number(values.rate),
  say: (text) => void process.stderr.write(text),
});
for (const problem of outcome.problems) process.stdout.write(`LEFT BEHIND OR WRONG: ${problem}\n`);
process.stdout.write(
  `${outcome.migrations} migrations, ${outcome.answered} requests answered, ${outcome.problems.length} problems\n`,
);
process.exitCode = outcome.problems.length > 0 || outcome.migrations < count ? 1 : 0;
