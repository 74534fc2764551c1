/** `scripts/run.sh test/escape/main.ts`: the attempts to escape, side by side, as a table of Markdown. Needs root. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { becomeVm } from '../jailor/support.ts';
import { jailorColumn, otherColumns } from './columns.ts';

const vm = becomeVm();
const directory = mkdtempSync(join(tmpdir(), 'comicran-escape-'));
try {
  const columns = [jailorColumn(directory), ...otherColumns(directory)];
  const names = [...new Set(columns.flatMap(({ attempts }) => attempts.map(({ name }) => name)))];
  const rows = names.map((name) => [
    name,
    ...columns.map(({ attempts }) => {
      const found = attempts.find((attempt) => attempt.name === name);
      if (found === undefined) return '–';
      return found.done ? `**done** (${found.how})` : `refused (${found.how})`;
    }),
  ]);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  process.stdout.write(line(['attempt', ...columns.map(({ name }) => name)]));
  process.stdout.write(line(columns.map(() => '---').concat('---')));
  for (const row of rows) process.stdout.write(line(row));
} finally {
  rmSync(directory, { recursive: true, force: true });
  vm.close();
}
