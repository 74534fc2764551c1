/** What the demonstration found, for people. */
import { formatTable } from '../../base/table.ts';
import { formatBytes, formatMicros } from '../../base/units.ts';
import type { ClientFigures, Latency, MigrationFigures } from './figures.ts';
import { type DemoReport, holds, inMigrations, type ModeRun, problemsOf, spreadOf } from './report.ts';

const micros = (value: number | null | undefined): string => (value == null ? '-' : formatMicros(value));
const count = (value: number | null): string => (value === null ? '-' : String(value));

function migrationTable(migrations: readonly MigrationFigures[]): string {
  const right = { align: 'right' } as const;
  return formatTable<MigrationFigures>(
    [
      { title: 'migration', cell: (row) => `${row.from} -> ${row.to}` },
      { title: 'mode', cell: (row) => row.mode },
      { title: 'freeze', cell: (row) => micros(row.freezeUs), ...right },
      { title: 'cutover', cell: (row) => micros(row.cutoverUs), ...right },
      { title: 'stop', cell: (row) => micros(row.stopUs), ...right },
      { title: 'in all', cell: (row) => micros(row.totalMs * 1000), ...right },
      { title: 'inputs', cell: (row) => count(row.inputsReplayed), ...right },
      { title: 'compared', cell: (row) => count(row.outputsCompared), ...right },
      { title: 'faults', cell: (row) => count(row.pageFaults), ...right },
      { title: 'sent', cell: (row) => formatBytes(row.bytes), ...right },
    ],
    migrations,
  );
}

type Column = { readonly title: string; readonly client: ClientFigures; readonly run: ModeRun | undefined };

const verdictOf = ({ exactlyOnce }: ClientFigures): string =>
  exactlyOnce === null ? 'not known' : exactlyOnce ? 'yes' : 'NO';

function spreadText(run: ModeRun | undefined, pick: (migration: MigrationFigures) => number | null): string {
  const spread = run === undefined ? null : spreadOf(run.migrations, pick);
  return spread === null ? '-' : `${micros(spread.median)} (${micros(spread.min)})`;
}

const during =
  (pick: (latency: Latency) => number) =>
  ({ run }: Column) =>
    run === undefined ? '-' : micros(pick(inMigrations(run)?.latencyUs ?? run.client.latencyUs));

const ROWS: readonly { title: string; value: (column: Column) => string }[] = [
  { title: 'migrations', value: ({ run }) => (run === undefined ? '-' : String(run.migrations.length)) },
  { title: 'stop, median (min)', value: ({ run }) => spreadText(run, (each) => each.stopUs) },
  { title: '  freeze', value: ({ run }) => spreadText(run, (each) => each.freezeUs) },
  { title: '  cutover', value: ({ run }) => spreadText(run, (each) => each.cutoverUs) },
  { title: 'requests sent', value: ({ client }) => String(client.sent) },
  { title: 'lost', value: ({ client }) => String(client.lost) },
  { title: 'duplicated', value: ({ client }) => String(client.duplicated) },
  { title: 'wrong', value: ({ client }) => String(client.wrong) },
  { title: 'reordered', value: ({ client }) => String(client.reordered) },
  { title: 'processed exactly once', value: ({ client }) => verdictOf(client) },
  { title: 'latency p50', value: ({ client }) => micros(client.latencyUs.p50) },
  { title: 'latency p99', value: ({ client }) => micros(client.latencyUs.p99) },
  { title: 'latency max', value: ({ client }) => micros(client.latencyUs.max) },
  { title: '  without platform stalls', value: ({ client }) => micros(client.undisturbed?.latencyUs.max) },
  { title: 'while it moved: p50', value: during((latency) => latency.p50) },
  { title: 'while it moved: p99', value: during((latency) => latency.p99) },
  { title: 'while it moved: max', value: during((latency) => latency.max) },
  { title: 'longest gap', value: ({ client }) => `${client.maxGapMs.toFixed(1)} ms` },
];

function comparison({ main, others, control }: DemoReport): string {
  const columns: Column[] = [
    ...[main, ...others].map((run) => ({ title: run.mode, client: run.client, run })),
    { title: 'control, no migration', client: control, run: undefined },
  ];
  return formatTable(
    [
      { title: 'mode', cell: (row) => row.title },
      ...columns.map((column) => ({
        title: column.title,
        cell: (row: (typeof ROWS)[number]) => row.value(column),
        align: 'right' as const,
      })),
    ],
    ROWS,
  );
}

/** What a newcomer may take for an error. */
function explainReordered({ main, others, control }: DemoReport): string {
  const reordered = [main, ...others].reduce((sum, { client }) => sum + client.reordered, control.reordered);
  if (reordered === 0) return '';
  return 'Reordered answers were overtaken by later ones, at a handover for the most part (docs/measuring.md).\n';
}

export function renderReport(report: DemoReport): string {
  const missing = Object.entries(report.missing).map(([mode, why]) => `not shown: ${mode} (${why})\n`);
  const problems = [report.main, ...report.others].flatMap(problemsOf).map((problem) => `  ${problem}\n`);
  const verdict = holds(report)
    ? 'No request was lost, none was answered twice, none wrongly: the server moved and nobody missed anything.\n'
    : `NOT everything was as promised:\n${problems.join('')}`;
  return `\n${migrationTable(report.main.migrations)}\n${comparison(report)}\n${missing.join('')}${explainReordered(report)}${verdict}`;
}
