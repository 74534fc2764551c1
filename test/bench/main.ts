/**
 * `npm run bench`: every figure that the project promises, with its bar, and whether it holds here and now.
 *
 * Absolute times are of this machine in this minute; each section says what it measured beside it for comparison.
 * `npm run bench -- jailor` runs the sections whose name contains a word.
 */
import { formatTable } from '../../src/base/table.ts';
import { engineFigures } from './engine.ts';
import { type Figure, judge } from './figure.ts';
import { jailorFigures } from './jailor-start.ts';
import { recordFigures } from './record.ts';
import { stopcopyFigures } from './stopcopy.ts';

const SECTIONS: Readonly<Record<string, () => Promise<Figure[]>>> = {
  jailor: jailorFigures,
  stopcopy: stopcopyFigures,
  engine: engineFigures,
  record: recordFigures,
};

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const figures: Figure[] = [];
for (const [name, measure] of Object.entries(SECTIONS)) {
  if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
  process.stderr.write(`${name}\n`);
  figures.push(...(await measure()));
}

if (process.argv.includes('--json')) {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} else {
  const number = (value: number): string => value.toFixed(1);
  process.stdout.write(
    formatTable<Figure>(
      [
        { title: 'figure', cell: (row) => row.name },
        { title: 'runs', cell: (row) => String(row.summary.count), align: 'right' },
        { title: 'min', cell: (row) => number(row.summary.min), align: 'right' },
        { title: 'median', cell: (row) => number(row.summary.median), align: 'right' },
        { title: 'max', cell: (row) => number(row.summary.max), align: 'right' },
        { title: 'unit', cell: (row) => row.unit },
        {
          title: 'bar (median)',
          cell: (row) => (row.medianBar === undefined ? '-' : `< ${row.medianBar}`),
          align: 'right',
        },
        { title: 'verdict', cell: judge },
      ],
      figures,
    ),
  );
}
process.exitCode = figures.some((figure) => judge(figure) === 'falls short') ? 1 : 0;
