/** What the demonstration found, as data: which of it stands in its JSON, and whether it is good. */
import { summarise } from '../../base/stats.ts';
import type { ClientFigures, MigrationFigures, WindowFigures } from './figures.ts';

/** The same server moved in one mode, under the same load. */
export type ModeRun = {
  readonly mode: string;
  readonly migrations: readonly MigrationFigures[];
  readonly client: ClientFigures;
  /** What ended it early. */
  readonly failed: string | undefined;
};

export type DemoReport = {
  /** The mode that the demonstration is about. */
  readonly main: ModeRun;
  /** The same move in the other modes. */
  readonly others: readonly ModeRun[];
  /** Modes of this project that the daemons do not offer for this server, and why. */
  readonly missing: Readonly<Record<string, string>>;
  /** As long as the main run where that was not very long, without a migration. */
  readonly control: ClientFigures;
};

/** The label of the windows in which the server was moved. */
export const MIGRATION = 'migration';

/** Keeps what the report promises of a client's output, so that its line does not depend on what else a client says. */
function clientFigures(report: ClientFigures): object {
  const { sent, answered, lost, duplicated, wrong, reordered, exactlyOnce, maxGapMs } = report;
  const { p50, p99, p999, max } = report.latencyUs;
  return {
    ...{ sent, answered, lost, duplicated, wrong, reordered, exactlyOnce },
    latencyUs: { p50, p99, p999, max },
    maxGapMs,
  };
}

function migrationFigures(migration: MigrationFigures): object {
  const { mode, from, to, totalMs, stopMs, stopUs, freezeUs, cutoverUs, pages, bytes, pageFaults, reason } = migration;
  const { inputsReplayed, outputsCompared } = migration;
  return {
    ...{ mode, from, to, totalMs, stopMs, stopUs, freezeUs, cutoverUs, inputsReplayed, outputsCompared, pageFaults },
    ...{ pages, bytes, reason },
  };
}

export const inMigrations = (run: ModeRun): WindowFigures | undefined => run.client.windows?.byLabel[MIGRATION];

type Spread = { readonly min: number; readonly median: number; readonly max: number };

/** Null: it does not apply to any of them. */
export function spreadOf(
  migrations: readonly MigrationFigures[],
  pick: (migration: MigrationFigures) => number | null,
): Spread | null {
  const values = migrations.map(pick).filter((value) => value !== null);
  if (values.length === 0) return null;
  const { min, median, max } = summarise(values);
  return { min, median, max };
}

function modeFigures(run: ModeRun): object {
  const { migrations, client, failed = null } = run;
  const during = inMigrations(run);
  return {
    migrations: migrations.length,
    stopUs: spreadOf(migrations, (each) => each.stopUs),
    freezeUs: spreadOf(migrations, (each) => each.freezeUs),
    cutoverUs: spreadOf(migrations, (each) => each.cutoverUs),
    totalMs: spreadOf(migrations, (each) => each.totalMs),
    pageFaults: spreadOf(migrations, (each) => each.pageFaults),
    client: clientFigures(client),
    duringMigrations:
      during === undefined ? null : { sent: during.sent, lost: during.lost, latencyUs: during.latencyUs },
    failed,
  };
}

/** One line of JSON, as issue trackers and scripts want it. Times are microseconds where a name does not say otherwise. */
export function reportJson({ main, others, missing, control }: DemoReport): string {
  return JSON.stringify({
    mode: main.mode,
    migrations: main.migrations.map(migrationFigures),
    client: clientFigures(main.client),
    control: clientFigures(control),
    byMode: Object.fromEntries([main, ...others].map((run) => [run.mode, modeFigures(run)])),
    missingModes: missing,
  });
}

/** What is wrong with a run; empty: every request was answered once and rightly, in every migration as it was asked for. */
export function problemsOf({ mode, migrations, client, failed }: ModeRun): string[] {
  const { lost, duplicated, wrong, exactlyOnce } = client;
  const other = migrations.filter((migration) => migration.mode !== mode);
  return [
    ...(failed === undefined ? [] : [`${mode}: ${failed}`]),
    ...(lost + duplicated + wrong === 0 ? [] : [`${mode}: ${lost} lost, ${duplicated} duplicated, ${wrong} wrong`]),
    ...(exactlyOnce === true ? [] : [`${mode}: not every request was processed exactly once`]),
    ...other.map(
      (migration) => `${mode}: moved by ${migration.mode} instead: ${migration.reason ?? 'no reason given'}`,
    ),
  ];
}

/** A mode that is not offered is no problem of what was shown. */
export function holds(report: DemoReport): boolean {
  return [report.main, ...report.others].every((run) => problemsOf(run).length === 0);
}
