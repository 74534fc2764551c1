/** What an operator sees of the migrations that the machines know of. Pure: values in, text out. */
import type { MigrationRecord } from '../api/gen/comicran_pb.ts';
import { formatTable } from '../base/table.ts';
import { formatAge, formatMicros } from '../base/units.ts';

const isUnderWay = ({ end }: MigrationRecord): boolean => end === '';

/** Without what its line says already: which sandbox, whither, and where it runs now. */
const shortly = (message: string): string =>
  message.replace(/^the migration of \S+ to \S+ failed \(([\w-]+)\): /, 'in $1: ').replace(/; it runs on at \S+$/, '');

function outcomeOf(record: MigrationRecord): string {
  const { end, fromVm, toVm, code, message, underWay } = record;
  if (isUnderWay(record)) return `under way (${underWay?.phase ?? 'beginning'})`;
  const why = code === '' ? '' : `: ${code}: ${shortly(message)}`;
  switch (end) {
    case 'moved':
      return `moved to ${toVm}${why}`;
    case 'stayed':
      return `stayed on ${fromVm}${why}`;
    default:
      return `halted, an operator is needed${why}`;
  }
}

const tookMs = ({ startedUnixMs, endedUnixMs }: MigrationRecord): number => Number(endedUnixMs - startedUnixMs);

/** @param name of the sandbox that was asked for; empty: all of them */
export function renderMigrations(records: readonly MigrationRecord[], nowUnixMs: number, name = ''): string {
  if (records.length === 0) return `no migrations${name === '' ? '' : ` of '${name}'`} are known\n`;
  return formatTable<MigrationRecord>(
    [
      { title: 'name', cell: (row) => row.name },
      { title: 'from', cell: (row) => row.fromVm },
      { title: 'to', cell: (row) => row.toVm },
      { title: 'mode', cell: (row) => row.mode || row.requestedMode || '-' },
      { title: 'ago', cell: (row) => formatAge(nowUnixMs - Number(row.startedUnixMs)), align: 'right' },
      { title: 'took', cell: (row) => (isUnderWay(row) ? '-' : formatMicros(tookMs(row) * 1000)), align: 'right' },
      { title: 'outcome', cell: outcomeOf },
    ],
    records,
  );
}

/** An element of `migrations --json`. */
export function migrationRecordJson(record: MigrationRecord): object {
  const { name, fromVm, toVm, mode, requestedMode, startedUnixMs, endedUnixMs, end, code, message, underWay } = record;
  return {
    ...{ name, from: fromVm, to: toVm },
    mode: mode === '' ? null : mode,
    requestedMode: requestedMode === '' ? null : requestedMode,
    outcome: isUnderWay(record) ? 'under way' : end,
    phase: underWay?.phase ?? null,
    startedUnixMs: Number(startedUnixMs),
    endedUnixMs: isUnderWay(record) ? null : Number(endedUnixMs),
    reasonCode: code === '' ? null : code,
    reason: message === '' ? null : message,
  };
}
