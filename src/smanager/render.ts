/** What an operator sees; of migrations in render-migration.ts. Pure: values in, text out. */
import type { FileUse, LogLine, Sandbox } from '../api/gen/comicran_pb.ts';
import { formatTable } from '../base/table.ts';
import { formatAge } from '../base/units.ts';
import type { LocationRow, ServiceRow, VmRow } from './operations.ts';
import type { SandboxRow } from './sandbox-list.ts';

function stateOf({ state, ended, migration, health, restarts, gaveUp }: SandboxRow): string {
  if (ended !== null) {
    const often = restarts === 0 ? '' : gaveUp ? `, given up after ${restarts} restarts` : `, ${restarts} restarts`;
    return `${state} (${ended}${often})`;
  }
  if (migration === null) {
    const more = [...(health === null ? [] : [health]), ...(restarts === 0 ? [] : [`${restarts} restarts`])];
    return more.length === 0 ? state : `${state} (${more.join(', ')})`;
  }
  const { phase, inputsBehind, outputsBehind } = migration;
  const lag = inputsBehind === null || outputsBehind === null ? '' : `, ${inputsBehind + outputsBehind} behind`;
  return `${state} (${phase}${lag})`;
}

const dash = (value: number | null): string => (value === null ? '-' : String(value));

/** Of the process, since it was started; of one that has ended it says nothing. */
function ageOf({ startedUnixMs, ended }: SandboxRow, nowUnixMs: number): string {
  return startedUnixMs === null || ended !== null ? '-' : formatAge(nowUnixMs - startedUnixMs);
}

export function renderSandboxes(rows: readonly SandboxRow[], nowUnixMs: number): string {
  if (rows.length === 0) return 'no sandboxes; start one with: comicran smanager start FULL.yaml --on VM\n';
  return formatTable<SandboxRow>(
    [
      { title: 'name', cell: (row) => row.name },
      { title: 'vm', cell: (row) => (row.movingTo === null ? row.vm : `${row.vm} -> ${row.movingTo}`) },
      { title: 'state', cell: stateOf },
      { title: 'address', cell: (row) => row.address },
      { title: 'service', cell: (row) => row.services.join(' ') || '-' },
      // In one column: the line of a usual sandbox fits on a terminal of 80.
      {
        title: 'pid inside/vm',
        cell: (row) => (row.pid === null ? '-' : `${dash(row.pidInside)}/${row.pid}`),
        align: 'right',
      },
      { title: 'age', cell: (row) => ageOf(row, nowUnixMs), align: 'right' },
    ],
    rows,
  );
}

export type Started = { readonly sandbox: Sandbox; readonly vm: string; readonly files: FileUse | undefined };

/** @param waited until it had bound its ports */
export function renderStarted({ sandbox, vm, files }: Started, waited: boolean): string {
  const ports = sandbox.ports.map(({ port, protocol }) => `${port}/${protocol}`).join(', ');
  const listens = waited && ports !== '' ? `, listens at ${ports}` : '';
  const pids = `process ${sandbox.innerPid} inside, ${sandbox.rootPid} on ${vm}`;
  const repaired = files?.repaired ?? [];
  const damage =
    repaired.length === 0 ? '' : `WARNING: damaged in the store, and copied anew: ${repaired.join(', ')}\n`;
  return `'${sandbox.name}' runs on ${vm}, address ${sandbox.address}${listens}; ${pids}\n${damage}`;
}

export function startedJson({ sandbox, vm, files }: Started): object {
  const { name, state, address, rootPid, innerPid } = sandbox;
  const used = {
    sharing: files?.sharing ?? null,
    copiedFiles: Number(files?.copiedFiles ?? 0n),
    copiedBytes: Number(files?.copiedBytes ?? 0n),
    rehashedBytes: Number(files?.rehashedBytes ?? 0n),
    repaired: files?.repaired ?? [],
  };
  return { name, vm, state, address, pid: rootPid, pidInside: innerPid, ...used };
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

export function renderLogLine(line: LogLine): string {
  const time = new Date(Number(line.unixUs / 1000n)).toISOString();
  // A line that was too long is cut: what follows goes on with it.
  return `${time} ${line.stream === 'stderr' ? '! ' : '  '}${line.text}${line.more ? ' …' : ''}\n`;
}
