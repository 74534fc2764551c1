/** What a soak has found so far, over all its sessions, and the file that keeps it between them. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { summarise } from '../../src/base/stats.ts';
import { formatTable } from '../../src/base/table.ts';
import { formatMicros } from '../../src/base/units.ts';
import type { ClientFigures, MigrationFigures } from '../../src/lab/demo/figures.ts';
import type { MachineCount } from '../../src/lab/layout.ts';

/** Of one mode: a figure of each migration. */
export type ModeTotals = {
  stopUs: number[];
  freezeUs: number[];
  cutoverUs: number[];
  inputsReplayed: number;
  outputsCompared: number;
  stragglers: number;
  atRisk: number;
};

export type Totals = {
  /** By the mode that was used. */
  readonly byMode: Record<string, ModeTotals>;
  /** How often another mode was used than was asked for, by reason. */
  readonly fallbacks: Record<string, number>;
  readonly client: {
    sent: number;
    answered: number;
    lost: number;
    duplicated: number;
    wrong: number;
    reordered: number;
  };
  readonly problems: string[];
  migrations: number;
  elapsedMs: number;
};

export function noTotals(): Totals {
  return {
    ...{ byMode: {}, fallbacks: {}, problems: [], migrations: 0, elapsedMs: 0 },
    client: { sent: 0, answered: 0, lost: 0, duplicated: 0, wrong: 0, reordered: 0 },
  };
}

export function addMigration(totals: Totals, moved: MigrationFigures): void {
  totals.migrations++;
  totals.byMode[moved.mode] ??= {
    ...{ stopUs: [], freezeUs: [], cutoverUs: [] },
    ...{ inputsReplayed: 0, outputsCompared: 0, stragglers: 0, atRisk: 0 },
  };
  const mode = totals.byMode[moved.mode]!;
  mode.stopUs.push(moved.stopUs);
  if (moved.freezeUs !== null) mode.freezeUs.push(moved.freezeUs);
  if (moved.cutoverUs !== null) mode.cutoverUs.push(moved.cutoverUs);
  mode.inputsReplayed += moved.inputsReplayed ?? 0;
  mode.outputsCompared += moved.outputsCompared ?? 0;
  mode.stragglers += moved.stragglers ?? 0;
  mode.atRisk += moved.atRisk;
  if (moved.reason !== null) totals.fallbacks[moved.reason] = (totals.fallbacks[moved.reason] ?? 0) + 1;
}

export function addClient({ client }: Totals, report: ClientFigures): void {
  for (const key of ['sent', 'answered', 'lost', 'duplicated', 'wrong', 'reordered'] as const)
    client[key] += report[key];
}

const spread = (values: readonly number[]): string => {
  if (values.length === 0) return '-';
  const { min, median, max } = summarise(values);
  return `${formatMicros(min)} / ${formatMicros(median)} / ${formatMicros(max)}`;
};

export function renderTotals({ byMode, fallbacks, client }: Totals): string {
  const table = formatTable<[string, ModeTotals]>(
    [
      { title: 'mode', cell: ([mode]) => mode },
      { title: 'migrations', cell: ([, each]) => String(each.stopUs.length), align: 'right' },
      { title: 'stop min / median / max', cell: ([, each]) => spread(each.stopUs) },
      { title: 'freeze', cell: ([, each]) => spread(each.freezeUs) },
      { title: 'cutover', cell: ([, each]) => spread(each.cutoverUs) },
      { title: 'inputs', cell: ([, each]) => String(each.inputsReplayed), align: 'right' },
      { title: 'compared', cell: ([, each]) => String(each.outputsCompared), align: 'right' },
    ],
    Object.entries(byMode),
  );
  const requests = Object.entries(client).map(([what, count]) => `${count} ${what}`);
  const reasons = Object.entries(fallbacks).map(
    ([reason, count]) => `moved in another mode ${count} times: ${reason}\n`,
  );
  return `${table}requests: ${requests.join(', ')}\n${reasons.join('')}`;
}

// ------------------------------------------------------------------------------------------------------- the file

export type SoakState = {
  readonly version: 1;
  readonly count: number;
  readonly rate: number;
  readonly modes: readonly string[];
  readonly vms?: MachineCount | undefined;
  readonly totals: Totals;
};

export function saveState(file: string, state: SoakState): void {
  writeFileSync(`${file}.new`, JSON.stringify(state));
  renameSync(`${file}.new`, file);
}

/** Undefined: there is none. @throws Error where it is not a state file of this version. */
export function loadState(file: string): SoakState | undefined {
  if (!existsSync(file)) return undefined;
  const state = JSON.parse(readFileSync(file, 'utf8')) as SoakState;
  if (state.version !== 1) throw new Error(`${file} is not the state of a soak of this version`);
  return state;
}

export const dropState = (file: string): void => rmSync(file, { force: true });
