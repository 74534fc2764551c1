/** What an operator sees. Pure: values in, text out. */
import type { LogLine, MigrationEvent, MigrationResult } from '../api/gen/comicran_pb.ts';
import { formatTable } from '../base/table.ts';
import { formatAge, formatBytes, formatMicros } from '../base/units.ts';
import type { LocationRow, ServiceRow, VmRow } from './operations.ts';
import type { SandboxRow } from './sandbox-list.ts';

export function renderSandboxes(rows: readonly SandboxRow[], nowUnixMs: number): string {
  if (rows.length === 0) return 'no sandboxes; start one with: comicran smanager start FULL.yaml --on VM\n';
  return formatTable<SandboxRow>(
    [
      { title: 'name', cell: (row) => row.name },
      { title: 'vm', cell: (row) => (row.movingTo === null ? row.vm : `${row.vm} -> ${row.movingTo}`) },
      { title: 'state', cell: (row) => (row.ended === null ? row.state : `${row.state} (${row.ended})`) },
      { title: 'address', cell: (row) => row.address },
      { title: 'service', cell: (row) => row.services.join(' ') || '-' },
      { title: 'pid', cell: (row) => (row.pid === null ? '-' : String(row.pid)), align: 'right' },
      {
        title: 'age',
        cell: (row) => (row.startedUnixMs === null ? '-' : formatAge(nowUnixMs - row.startedUnixMs)),
        align: 'right',
      },
    ],
    rows,
  );
}

export function renderVms(rows: readonly VmRow[]): string {
  return formatTable<VmRow>(
    [
      { title: 'name', cell: (row) => row.name },
      { title: 'state', cell: (row) => row.state },
      { title: 'endpoint', cell: (row) => row.endpoint },
      { title: 'address', cell: (row) => row.address ?? '-' },
      { title: 'sandboxes', cell: (row) => (row.sandboxes === null ? '-' : String(row.sandboxes)), align: 'right' },
      { title: 'kernel', cell: (row) => row.kernel ?? '-' },
    ],
    rows,
  );
}

export function renderServices(rows: readonly ServiceRow[]): string {
  if (rows.length === 0) return 'no services\n';
  return formatTable<ServiceRow>(
    [
      { title: 'service', cell: (row) => `${row.service}/${row.protocol}` },
      { title: 'sandbox', cell: (row) => row.sandbox },
      { title: 'leads to', cell: (row) => row.leadsTo },
      { title: 'packets', cell: (row) => String(row.packets), align: 'right' },
      { title: 'bytes', cell: (row) => String(row.bytes), align: 'right' },
    ],
    rows,
  );
}

export function renderLocations(rows: readonly LocationRow[]): string {
  if (rows.length === 0) return 'no sandboxes\n';
  return formatTable<LocationRow>(
    [
      { title: 'sandbox', cell: (row) => row.sandbox },
      { title: 'address', cell: (row) => row.address },
      { title: 'vm', cell: (row) => row.vm },
      { title: 'via', cell: (row) => row.via },
      { title: 'epoch', cell: (row) => String(row.epoch), align: 'right' },
    ],
    rows,
  );
}

/** A line for an event of a migration, or undefined where there is nothing new to say. */
export function renderEvent(event: MigrationEvent): string | undefined {
  if (event.event.case !== 'phase') return undefined;
  const { phase, atUs, doneBytes, totalBytes, note } = event.event.value;
  const share = totalBytes > 0n ? `  ${formatBytes(Number(doneBytes))} of ${formatBytes(Number(totalBytes))}` : '';
  return `  ${formatMicros(Number(atUs)).padStart(9)}  ${phase}${note === '' ? '' : `: ${note}`}${share}\n`;
}

export function renderResult(name: string, result: MigrationResult): string {
  const rows = result.phases.map((phase) => ({
    phase: phase.phase,
    start: formatMicros(Number(phase.startUs)),
    took: formatMicros(Number(phase.durationUs)),
  }));
  const dropped = result.datagramsDropped > 0n ? `, ${result.datagramsDropped} DROPPED (receive queue full)` : '';
  const unconfirmed = result.datagramsConfirmed
    ? ''
    : '\nWARNING: the destination has not confirmed the datagrams that came while nobody ran: they may be lost';
  return (
    formatTable(
      [
        { title: '  phase', cell: (row) => `  ${row.phase}` },
        { title: 'at', cell: (row) => row.start, align: 'right' },
        { title: 'took', cell: (row) => row.took, align: 'right' },
      ],
      rows,
    ) +
    `'${name}' runs on ${result.toVm} (mode ${result.mode}): stopped for ${formatMicros(Number(result.stopUs))}, ` +
    `${formatMicros(Number(result.totalUs))} in all, ${result.pages} pages, ${formatBytes(Number(result.bytes))} sent, ` +
    `${result.datagramsCarried} waiting datagrams carried${dropped}${unconfirmed}\n`
  );
}

/** Numbers instead of bigints, for --json. */
export function resultJson(name: string, result: MigrationResult): object {
  return {
    name,
    mode: result.mode,
    from: result.fromVm,
    to: result.toVm,
    totalMs: Number(result.totalUs) / 1000,
    stopMs: Number(result.stopUs) / 1000,
    pages: Number(result.pages),
    bytes: Number(result.bytes),
    datagramsCarried: Number(result.datagramsCarried),
    datagramsDropped: Number(result.datagramsDropped),
    datagramsConfirmed: result.datagramsConfirmed,
    epoch: Number(result.epoch),
    phases: result.phases.map(({ phase, startUs, durationUs }) => ({
      phase,
      startUs: Number(startUs),
      durationUs: Number(durationUs),
    })),
  };
}

export function renderLogLine(line: LogLine): string {
  const time = new Date(Number(line.unixUs / 1000n)).toISOString();
  return `${time} ${line.stream === 'stderr' ? '! ' : '  '}${line.text}\n`;
}
