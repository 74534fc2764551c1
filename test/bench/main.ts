/**
 * `npm run bench`: every figure that the project promises, with its bar, and whether it holds here and now.
 *
 * Absolute times are of this machine in this minute; each section says what it measured beside it for comparison.
 */
import { Command } from 'commander';
import { formatTable } from '../../src/base/table.ts';
import { atLeastOne } from '../support/options.ts';
import { apartFigures } from './apart.ts';
import { engineFigures } from './engine.ts';
import { type BenchOptions, barText, type Figure, judge } from './figure.ts';
import { freezeFigures } from './freeze.ts';
import { jailorFigures } from './jailor-start.ts';
import { largeFigures } from './large.ts';
import { modeFigures } from './modes.ts';
import { pagingFigures } from './paging.ts';
import { recordFigures } from './record.ts';
import { sizeFigures } from './size.ts';
import { slowdownFigures } from './slowdown.ts';
import { trackingFigures } from './tracking.ts';
import { trafficFigures } from './traffic.ts';

const SECTIONS: Readonly<Record<string, (options: BenchOptions) => Promise<Figure[]>>> = {
  jailor: () => jailorFigures(),
  modes: modeFigures,
  size: sizeFigures,
  large: largeFigures,
  traffic: trafficFigures,
  apart: apartFigures,
  slowdown: slowdownFigures,
  engine: engineFigures,
  freeze: freezeFigures,
  tracking: trackingFigures,
  record: recordFigures,
  paging: () => pagingFigures(),
};

const program = new Command('npm run bench --')
  .description('Measures what the project promises: figure, bar, and whether it holds here and now.')
  .argument('[sections...]', `those alone whose name contains one of the words: ${Object.keys(SECTIONS).join(', ')}`)
  .option('--count <n>', 'migrations in the sections that count them: fewer than there should be', atLeastOne)
  .option('--json', 'the figures as one line of JSON', false)
  .addHelpText('after', '\nExamples:\n  npm run bench\n  npm run bench -- freeze paging --count 20')
  .parse();
const options = program.opts<BenchOptions & { readonly json: boolean }>();
const words = program.args;
const unknown = words.find((word) => !Object.keys(SECTIONS).some((name) => name.includes(word)));
if (unknown !== undefined) program.error(`there is no section '${unknown}': ${Object.keys(SECTIONS).join(', ')}`);

const figures: Figure[] = [];
const broken: string[] = [];
for (const [name, measure] of Object.entries(SECTIONS)) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
  process.stderr.write(`${name}\n`);
  try {
    figures.push(...(await measure(options)));
  } catch (thrown) {
    // The figures of the other sections are worth having all the same.
    broken.push(`${name}: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`);
    process.stderr.write(`  ${broken.at(-1)}\n`);
  }
}

/** Three digits that mean something, and counts whole. */
function number(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return value.toFixed(Math.abs(value) < 10 ? 2 : 1);
}

if (options.json) {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} else if (figures.length > 0) {
  process.stdout.write(
    formatTable<Figure>(
      [
        { title: 'figure', cell: (row) => row.name },
        { title: 'runs', cell: (row) => String(row.summary.count), align: 'right' },
        { title: 'min', cell: (row) => number(row.summary.min), align: 'right' },
        { title: 'median', cell: (row) => number(row.summary.median), align: 'right' },
        { title: 'max', cell: (row) => number(row.summary.max), align: 'right' },
        { title: 'unit', cell: (row) => row.unit },
        { title: 'bar', cell: barText },
        { title: 'aim', cell: (row) => row.aim ?? '-' },
        { title: 'verdict', cell: judge },
      ],
      figures,
    ),
  );
}
for (const problem of broken) process.stdout.write(`NOT MEASURED: ${problem}\n`);
process.exitCode = broken.length > 0 || figures.some((figure) => judge(figure) === 'falls short') ? 1 : 0;
