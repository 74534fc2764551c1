/** The requests of a run's windows beside those outside of them, for people. */
import { formatTable } from '../../base/table.ts';
import { formatMicros } from '../../base/units.ts';
import type { Latency } from './report.ts';
import type { WindowFigures, WindowsReport } from './windows.ts';

type Row = { readonly title: string; readonly sent: string; readonly lost: string; readonly latency: Latency };

function rowsOf(title: string, figures: WindowFigures): Row[] {
  const counts = { sent: String(figures.sent), lost: String(figures.lost) };
  const rows: Row[] = [{ title, ...counts, latency: figures.latencyUs }];
  const quiet = figures.undisturbed;
  if (quiet !== null) {
    const title = `  without ${quiet.leftOut} in platform stalls`;
    rows.push({ title, sent: '', lost: '', latency: quiet.latencyUs });
  }
  return rows;
}

export function renderWindows({ control, byLabel }: WindowsReport): string {
  const micros = (value: number | null): string => (value === null ? '-' : formatMicros(value));
  return formatTable<Row>(
    [
      { title: 'requests in flight', cell: (row) => row.title },
      { title: 'sent', cell: (row) => row.sent, align: 'right' },
      { title: 'lost', cell: (row) => row.lost, align: 'right' },
      { title: 'p50', cell: (row) => micros(row.latency.p50), align: 'right' },
      { title: 'p99', cell: (row) => micros(row.latency.p99), align: 'right' },
      { title: 'max', cell: (row) => micros(row.latency.max), align: 'right' },
    ],
    [
      ...Object.entries(byLabel).flatMap(([label, figures]) =>
        rowsOf(`in ${figures.windows} windows '${label}', ${figures.seconds.toFixed(1)} s`, figures),
      ),
      ...rowsOf(`in none, ${control.seconds.toFixed(1)} s`, control),
    ],
  );
}
