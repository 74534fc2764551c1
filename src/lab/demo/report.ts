/** What the demonstration found, as data and as a table. */
import { formatTable } from '../../base/table.ts';
import { formatBytes, formatMicros } from '../../base/units.ts';

export type ClientFigures = {
  readonly sent: number;
  readonly answered: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly wrong: number;
  readonly reordered: number;
  readonly exactlyOnce: boolean | null;
  readonly latencyUs: { readonly p50: number; readonly p99: number; readonly p999: number; readonly max: number };
  readonly maxGapMs: number;
};

export type MigrationFigures = {
  readonly from: string;
  readonly to: string;
  readonly totalMs: number;
  readonly stopMs: number;
  readonly pages: number;
  readonly bytes: number;
  readonly phases: readonly { readonly phase: string; readonly startUs: number; readonly durationUs: number }[];
};

export type DemoReport = {
  readonly mode: string;
  readonly migrations: readonly MigrationFigures[];
  readonly client: ClientFigures;
  readonly control: ClientFigures;
};

/** Keeps what the report promises of a client's output, so that its line does not depend on what else a client says. */
export function clientFigures(report: ClientFigures): ClientFigures {
  const { sent, answered, lost, duplicated, wrong, reordered, exactlyOnce, maxGapMs } = report;
  const { p50, p99, p999, max } = report.latencyUs;
  return {
    sent,
    answered,
    lost,
    duplicated,
    wrong,
    reordered,
    exactlyOnce,
    latencyUs: { p50, p99, p999, max },
    maxGapMs,
  };
}

/** One line of JSON, as issue trackers and scripts want it. */
export function reportJson(report: DemoReport): string {
  const migrations = report.migrations.map(({ from, to, totalMs, stopMs, pages, bytes }) => ({
    ...{ from, to, totalMs, stopMs, pages, bytes },
  }));
  const { mode, client, control } = report;
  return JSON.stringify({ mode, migrations, client: clientFigures(client), control: clientFigures(control) });
}

/** Whether every request was answered, once and rightly. */
export function holds(report: DemoReport): boolean {
  const { lost, duplicated, wrong, exactlyOnce } = report.client;
  return lost === 0 && duplicated === 0 && wrong === 0 && exactlyOnce === true;
}

function migrationTable(migration: MigrationFigures): string {
  const phases = formatTable(
    [
      { title: '  phase', cell: (row) => `  ${row.phase}` },
      { title: 'at', cell: (row) => formatMicros(row.startUs), align: 'right' },
      { title: 'took', cell: (row) => formatMicros(row.durationUs), align: 'right' },
    ],
    migration.phases,
  );
  return (
    `${migration.from} -> ${migration.to}: stopped for ${migration.stopMs.toFixed(1)} ms, ` +
    `${migration.totalMs.toFixed(0)} ms in all, ${migration.pages} pages, ${formatBytes(migration.bytes)}\n${phases}\n`
  );
}

const CLIENT_ROWS: readonly { title: string; value: (figures: ClientFigures) => string }[] = [
  { title: 'sent', value: (f) => String(f.sent) },
  { title: 'answered', value: (f) => String(f.answered) },
  { title: 'lost', value: (f) => String(f.lost) },
  { title: 'duplicated', value: (f) => String(f.duplicated) },
  { title: 'wrong', value: (f) => String(f.wrong) },
  { title: 'reordered', value: (f) => String(f.reordered) },
  {
    title: 'processed exactly once',
    value: (f) => (f.exactlyOnce === null ? 'not known' : f.exactlyOnce ? 'yes' : 'NO'),
  },
  { title: 'latency p50', value: (f) => formatMicros(f.latencyUs.p50) },
  { title: 'latency p99', value: (f) => formatMicros(f.latencyUs.p99) },
  { title: 'latency p99.9', value: (f) => formatMicros(f.latencyUs.p999) },
  { title: 'latency max', value: (f) => formatMicros(f.latencyUs.max) },
  { title: 'longest gap', value: (f) => `${f.maxGapMs.toFixed(1)} ms` },
];

export function renderReport(report: DemoReport): string {
  const client = formatTable(
    [
      { title: 'client', cell: (row) => row.title },
      { title: 'with migrations', cell: (row) => row.value(report.client), align: 'right' },
      { title: 'control, none', cell: (row) => row.value(report.control), align: 'right' },
    ],
    CLIENT_ROWS,
  );
  const verdict = holds(report)
    ? 'No request was lost, none was answered twice, none wrongly: the server moved and nobody missed anything.\n'
    : 'NOT every request was answered exactly once: see the table.\n';
  return `\n${report.migrations.map(migrationTable).join('')}${client}\n${verdict}`;
}
