/** What an operator sees of a migration and of its dry run. Pure: values in, text out. */
import type { MigrationResult, PlanMigrationResponse, PlannedMode } from '../api/gen/comicran_pb.ts';
import { formatTable } from '../base/table.ts';
import { formatBytes, formatMicros, plural } from '../base/units.ts';
import { type Migrated, sayUntouched } from './migrations.ts';

const micros = (value: bigint | undefined): string => (value === undefined ? '-' : formatMicros(Number(value)));
const numberOf = (value: bigint | undefined): number | null => (value === undefined ? null : Number(value));

/** Whether another mode was used than was meant. */
const fellBack = (result: MigrationResult): boolean => result.reason !== '' || result.reasonCode !== '';

function headline(name: string, result: MigrationResult): string {
  const { freezeUs, cutoverUs } = result;
  const parts =
    freezeUs === undefined || cutoverUs === undefined
      ? ''
      : ` (freeze ${micros(freezeUs)}, cutover ${micros(cutoverUs)})`;
  return (
    `'${name}' runs on ${result.toVm} (mode ${result.mode}): stopped for ${micros(result.stopUs)}${parts}, ` +
    `${micros(result.totalUs)} in all\n`
  );
}

/** The figures that apply, each with its name. */
function figures(result: MigrationResult): [string, string][] {
  const { rounds, inputsReplayed, outputsCompared = 0n, outputsReleased = 0n, lagMax, pageFaults } = result;
  const inRounds = rounds === undefined ? '' : ` in ${plural(Number(rounds), 'round')}`;
  const rows: [string, string][] = [
    ['sent', `${plural(Number(result.pages), 'page')}${inRounds}, ${formatBytes(Number(result.bytes))} with the image`],
  ];
  if (inputsReplayed !== undefined) {
    const compared = `${plural(Number(outputsCompared), 'output')} compared, ${outputsReleased} held and let go`;
    rows.push(['copy', `${plural(Number(inputsReplayed), 'input')} replayed, ${compared}`]);
  }
  if (lagMax !== undefined) rows.push(['most behind', plural(Number(lagMax), 'datagram')]);
  if (pageFaults !== undefined) rows.push(['waited for', plural(Number(pageFaults), 'page')]);
  // The same datagrams by two names: in `replicated` the server ran until the cutover, so that only what came behind it waited.
  const whence = result.stragglers === undefined ? 'while nobody ran' : 'behind the cutover';
  const carried = plural(Number(result.datagramsCarried), 'datagram');
  rows.push(['carried', `${carried} that came to ${result.fromVm} ${whence}`]);
  return rows;
}

function warnings(result: MigrationResult): string {
  const found: string[] = [];
  if (fellBack(result)) {
    const meant = result.requestedMode === '' ? 'replicated' : result.requestedMode;
    found.push(`moved by ${result.mode} instead of ${meant}: ${sayUntouched(result.reason || result.reasonCode)}`);
  }
  if (result.datagramsDropped > 0n)
    found.push(`${result.datagramsDropped} datagrams were DROPPED (receive queue full)`);
  if (!result.datagramsConfirmed) {
    found.push('the destination has not confirmed the datagrams that came while nobody ran: they may be lost');
  }
  if (result.atRisk > 0n)
    found.push(`${result.atRisk} answers may have been lost or sent twice: the source died meanwhile`);
  return found.map((warning) => `WARNING: ${warning}\n`).join('');
}

/** Without the phases: whoever has seen the migration go on has seen them. */
export function renderResult(name: string, result: MigrationResult): string {
  const lines = figures(result).map(([title, value]) => `  ${title.padEnd(11)}  ${value}\n`);
  return `${headline(name, result)}${lines.join('')}${warnings(result)}`;
}

/** Numbers instead of bigints, for --json. Null: does not apply to the mode. */
export function resultJson(name: string, { result, startedUnixUs, beganUnixUs, endedUnixUs }: Migrated): object {
  return {
    name,
    mode: result.mode,
    requestedMode: result.requestedMode === '' ? null : result.requestedMode,
    reasonCode: result.reasonCode === '' ? null : result.reasonCode,
    reason: result.reason === '' ? null : result.reason,
    from: result.fromVm,
    to: result.toVm,
    startedUnixUs,
    beganUnixUs,
    endedUnixUs,
    totalMs: Number(result.totalUs) / 1000,
    stopMs: Number(result.stopUs) / 1000,
    stopUs: Number(result.stopUs),
    freezeUs: numberOf(result.freezeUs),
    cutoverUs: numberOf(result.cutoverUs),
    inputsReplayed: numberOf(result.inputsReplayed),
    outputsCompared: numberOf(result.outputsCompared),
    outputsReleased: numberOf(result.outputsReleased),
    lagMax: numberOf(result.lagMax),
    stragglers: numberOf(result.stragglers),
    pageFaults: numberOf(result.pageFaults),
    rounds: numberOf(result.rounds),
    pages: Number(result.pages),
    bytes: Number(result.bytes),
    datagramsCarried: Number(result.datagramsCarried),
    datagramsDropped: Number(result.datagramsDropped),
    datagramsConfirmed: result.datagramsConfirmed,
    atRisk: Number(result.atRisk),
    epoch: Number(result.epoch),
    phases: result.phases.map(({ phase, startUs, durationUs }) => ({
      phase,
      startUs: Number(startUs),
      durationUs: Number(durationUs),
    })),
  };
}

// ------------------------------------------------------------------------------------------------------ the dry run

/** What `migrate` would do. Undefined: it would be refused. */
export type Choice = { readonly mode: string | undefined; readonly fallback: string };

/** @param fallback as it was given; empty: the default. */
export function choiceOf(plan: PlanMigrationResponse, fallback: string): Choice {
  const possible = plan.modes.filter((each) => each.possible).map((each) => each.mode);
  const meant = plan.modes[0]?.mode;
  const otherwise = fallback || (possible.includes('precopy') ? 'precopy' : 'stopcopy');
  if (meant === undefined || possible.includes(meant)) return { mode: meant, fallback: otherwise };
  const replacement = meant === 'replicated' && possible.includes(otherwise) ? otherwise : undefined;
  return { mode: replacement, fallback: 'none' };
}

export function renderPlan(name: string, toVm: string, plan: PlanMigrationResponse, choice: Choice): string {
  const table = formatTable<PlannedMode>(
    [
      { title: 'mode', cell: (row) => row.mode },
      { title: 'possible', cell: (row) => (row.possible ? 'yes' : 'no') },
      { title: 'freeze', cell: (row) => micros(row.freezeUs), align: 'right' },
      { title: 'stop', cell: (row) => micros(row.stopUs), align: 'right' },
      { title: 'in all', cell: (row) => micros(row.totalUs), align: 'right' },
    ],
    plan.modes,
  );
  const reasons = plan.modes
    .filter(({ possible }) => !possible)
    .map(({ mode, whyNot, hint }) => `${mode}: ${whyNot}\n${hint === '' ? '' : `  next: ${hint}\n`}`);
  const size = `${formatBytes(Number(plan.memoryBytes))} of memory, ${plan.threads} threads, ${plan.descriptors} descriptors`;
  const instead =
    choice.mode === 'replicated' && choice.fallback !== 'none'
      ? `, or ${choice.fallback} if the copy does not answer alike`
      : '';
  const verdict =
    choice.mode === undefined
      ? `'${name}' cannot be moved to ${toVm}.\n`
      : `'${name}' would be moved to ${toVm} by ${choice.mode}${instead}. The times are estimates; nothing was changed.\n`;
  return `${table}${reasons.join('')}\n${size}\n${verdict}`;
}

export function planJson(name: string, toVm: string, plan: PlanMigrationResponse, choice: Choice): object {
  return {
    name,
    to: toVm,
    wouldUse: choice.mode ?? null,
    fallback: choice.fallback,
    modes: plan.modes.map(({ mode, possible, code, whyNot, hint, freezeUs, stopUs, totalUs }) => ({
      ...{ mode, possible },
      ...{ code: code || null, whyNot: whyNot || null, hint: hint || null },
      ...{ freezeUs: numberOf(freezeUs), stopUs: numberOf(stopUs), totalUs: numberOf(totalUs) },
    })),
    memoryBytes: Number(plan.memoryBytes),
    threads: plan.threads,
    descriptors: plan.descriptors,
  };
}
