/** A client's report for people. */
import { formatTable } from '../../base/table.ts';
import { formatMicros } from '../../base/units.ts';
import type { ClientReport, Latency, Undisturbed } from './report.ts';

const micros = (value: number | null): string => (value === null ? '-' : formatMicros(value));

function verdict(report: ClientReport): string {
  if (report.exactlyOnce === true) return 'yes';
  if (report.exactlyOnce === false) return 'NO';
  return report.counter === null ? 'not known: the server does not count' : 'not known: others use the server too';
}

function counts(report: ClientReport): [string, string][] {
  const rows: [string, string][] = [
    ['sent', String(report.sent)],
    ['answered', String(report.answered)],
    ['lost', String(report.lost)],
    ['duplicated', String(report.duplicated)],
    ['wrong', String(report.wrong)],
    ['reordered', String(report.reordered)],
    ['processed exactly once', verdict(report)],
    ['longest gap', formatMicros(report.maxGapMs * 1000)],
  ];
  // What went wrong on this side is said only where something did.
  const { counter, pacing } = report;
  if (counter !== null && report.exactlyOnce !== true) {
    rows.push(['counts missing, repeated', `${counter.missing}, ${counter.repeated}`]);
  }
  if (report.refused > 0) rows.push(['port unreachable', String(report.refused)]);
  if (report.sendFailures > 0) rows.push(['not taken by the kernel', String(report.sendFailures)]);
  if ((report.receiveDrops ?? 0) > 0) rows.push(['dropped by this client', String(report.receiveDrops)]);
  if (pacing.stalls > 0) rows.push(['stalls of this client', `${pacing.stalls} (up to ${micros(pacing.lateUs.max)})`]);
  return rows;
}

/** @param quiet the latencies without the requests that a stall of the platform may have delayed. */
export function renderClientReport(report: ClientReport, quiet?: Undisturbed): string {
  const head = `${report.target}: ${report.rate} requests/s for ${(report.durationMs / 1000).toFixed(1)} s`;
  const latencies: [string, Latency][] = [
    ['latency', report.latencyUs],
    ['from the actual send', report.latencyFromSendUs],
    ['sent later than due', report.pacing.lateUs],
  ];
  if (quiet !== undefined) {
    latencies.push([`latency without ${quiet.leftOut} in platform stalls`, quiet.latencyUs]);
    latencies.push(['the same from the actual send', quiet.latencyFromSendUs]);
  }
  const percentile = (title: string, key: keyof Latency) => ({
    title,
    align: 'right' as const,
    cell: ([, latency]: [string, Latency]) => micros(latency[key]),
  });
  const figures = formatTable(
    [
      { title: 'requests', cell: ([title]: [string, string]) => title },
      { title: '', cell: ([, value]) => value },
    ],
    counts(report),
  );
  const times = formatTable(
    [
      { title: 'times', cell: ([title]: [string, Latency]) => title },
      percentile('p50', 'p50'),
      percentile('p90', 'p90'),
      percentile('p99', 'p99'),
      percentile('p99.9', 'p999'),
      percentile('max', 'max'),
    ],
    latencies,
  );
  return `${head}\n\n${figures}\n${times}`;
}
