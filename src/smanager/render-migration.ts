/** What an operator sees of a migration and of its dry run. Pure: values in, text out. */
import type { MigrationResult, PlanMigrationResponse, PlannedMode } from '../api/gen/comicran_pb.ts';
import { formatTable } from '../base/table.ts';
import { formatBytes, formatMicros, formatMicrosRange, plural } from '../base/units.ts';
import { type Migrated, sayUntouched } from './migrations.ts';

const micros = (value: bigint | undefined): string => (value === undefined ? '-' : formatMicros(Number(value)));
const numberOf = (value: bigint | undefined): number | null => (value === undefined ? null : Number(value));

const PAGE_BYTES = 4096;

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
  const { snapshot, snapshotWhy } = result;
  const rows: [string, string][] = [
    ...(snapshot === '' ? [] : [['snapshot', `${snapshot}: ${snapshotWhy}`] satisfies [string, string]]),
    ['sent', `${plural(Number(result.pages), 'page')}${inRounds}, ${formatBytes(Number(result.bytes))} with the image`],
  ];
  if (result.filesSent > 0n) {
    rows.push([
      'files',
      `${plural(Number(result.filesSent), 'file')} sent, ${formatBytes(Number(result.fileBytesSent))}`,
    ]);
  }
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
    snapshot: result.snapshot || null,
    snapshotWhy: result.snapshotWhy || null,
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
    // Of the sandbox's files: sent because the destination lacked them, and copied there from its own.
    filesSent: Number(result.filesSent),
    fileBytesSent: Number(result.fileBytesSent),
    copiedBytes: Number(result.fileBytesCopied),
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

/** `1.4 to 12 ms`; `-` where it does not apply. */
function range(least: bigint | undefined, most: bigint | undefined): string {
  return least === undefined || most === undefined ? '-' : formatMicrosRange(Number(least), Number(most));
}

/** What `migrate` would do, how, and what if the copy does not answer alike. */
function verdictOf(name: string, toVm: string, plan: PlanMigrationResponse, { mode, fallback }: Choice): string {
  if (mode === undefined) return `'${name}' cannot be moved to ${toVm}.\n`;
  const planned = plan.modes.find((each) => each.mode === mode);
  const instead = plan.modes.find((each) => each.mode === fallback);
  const lines = [`'${name}' would be moved to ${toVm} by ${mode}.`];
  if (planned !== undefined && planned.way !== '') lines.push(`  snapshot    ${planned.way}: ${planned.whyWay}`);
  if (mode === 'replicated') {
    const stop = instead?.possible ? `, with a stop of ${range(instead.stopUs, instead.stopMaxUs)}` : '';
    const then = fallback === 'none' ? 'the migration fails' : `it is moved by ${fallback}${stop}`;
    lines.push(
      '  divergence  if its copy answers differently, the copy is thrown away before anybody has noticed, it goes on',
      `              answering where it is, and ${then}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** Why some modes are not possible; what holds for several of them is said once. */
function refusals({ modes }: PlanMigrationResponse): string {
  const byReason = new Map<string, string[]>();
  for (const { possible, mode, whyNot, hint } of modes) {
    if (possible) continue;
    const reason = `${whyNot}\n${hint === '' ? '' : `  next: ${hint}\n`}`;
    byReason.set(reason, [...(byReason.get(reason) ?? []), mode]);
  }
  return [...byReason].map(([reason, which]) => `${which.join(', ')}: ${reason}`).join('');
}

export function renderPlan(name: string, toVm: string, plan: PlanMigrationResponse, choice: Choice): string {
  const table = formatTable<PlannedMode>(
    [
      { title: 'mode', cell: (row) => row.mode },
      { title: 'possible', cell: (row) => (row.possible ? 'yes' : 'no') },
      { title: 'freeze', cell: (row) => range(row.freezeUs, row.freezeMaxUs), align: 'right' },
      { title: 'stop', cell: (row) => range(row.stopUs, row.stopMaxUs), align: 'right' },
      { title: 'in all', cell: (row) => range(row.totalUs, row.totalMaxUs), align: 'right' },
    ],
    plan.modes,
  );
  const memory = Number(plan.memoryBytes);
  const has = [
    `${formatBytes(memory)} of memory (${plural(memory / PAGE_BYTES, 'page')})`,
    plural(plan.threads, 'thread'),
    plural(plan.descriptors, 'descriptor'),
  ];
  const load = plan.loadPerCpu < 10 ? plan.loadPerCpu.toFixed(1) : Math.round(plan.loadPerCpu);
  const refused = `${table}${refusals(plan)}\n${verdictOf(name, toVm, plan, choice)}\n`;
  if (plan.modes.every(({ possible }) => !possible)) return `${refused}Nothing was changed.\n`;
  return (
    `${refused}Nothing was changed. The times are estimates for ${has.join(', ')}: from a machine\n` +
    `that has nothing else to do, to one as busy as this one has been for a minute (load ${load} for each CPU).\n`
  );
}

export function planJson(name: string, toVm: string, plan: PlanMigrationResponse, choice: Choice): object {
  return {
    name,
    to: toVm,
    wouldUse: choice.mode ?? null,
    fallback: choice.fallback,
    modes: plan.modes.map((planned) => ({
      ...{ mode: planned.mode, possible: planned.possible },
      ...{ code: planned.code || null, whyNot: planned.whyNot || null, hint: planned.hint || null },
      ...{ freezeUs: numberOf(planned.freezeUs), freezeMaxUs: numberOf(planned.freezeMaxUs) },
      ...{ stopUs: numberOf(planned.stopUs), stopMaxUs: numberOf(planned.stopMaxUs) },
      ...{ totalUs: numberOf(planned.totalUs), totalMaxUs: numberOf(planned.totalMaxUs) },
      ...{ way: planned.way || null, whyWay: planned.whyWay || null },
    })),
    memoryBytes: Number(plan.memoryBytes),
    threads: plan.threads,
    descriptors: plan.descriptors,
    loadPerCpu: plan.loadPerCpu,
  };
}
