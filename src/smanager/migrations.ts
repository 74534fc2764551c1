/** Moving sandboxes, over the connections of a {@link Fleet}. */
import type {
  Failure,
  FallbackEvent,
  MigrationEvent,
  MigrationRecord,
  MigrationResult,
  PlanMigrationResponse,
} from '../api/gen/comicran_pb.ts';
import { ComicranError, type ErrorCode, isErrorCode } from '../base/errors.ts';
import { type Fleet, isSilent } from './fleet.ts';
import { machineOf } from './operations.ts';

/** The modes of this project; a daemon may offer fewer, and says so. */
export const MODES = ['replicated', 'postcopy', 'precopy', 'stopcopy'] as const;
/** What `replicated` may be replaced with; `none`: the migration fails instead. */
export const FALLBACKS = ['postcopy', 'precopy', 'stopcopy', 'none'] as const;

/** What a destination does with the whole copy of a machine that it hears no more. */
export const TAKE_OVERS = ['ask', 'never'] as const;

/** How `replicated` may take its snapshot. */
export const SNAPSHOTS = ['fork', 'tracked'] as const;

/** Times by this program's clock. */
export type Migrated = {
  readonly result: MigrationResult;
  /** From the call to its result: with the preparation of the destination, and with what is taken down at the source. */
  readonly startedUnixUs: number;
  readonly endedUnixUs: number;
  /** When the migration's own clock began, from which its phases are counted: late by one way of its first word. */
  readonly beganUnixUs: number;
};

export type MigrateOptions = {
  readonly toVm: string;
  /** Empty: the daemon's default. */
  readonly mode: string;
  /** Empty: the daemon's default. */
  readonly fallback: string;
  /** 0: the daemon's default. */
  readonly deadlineMs: number;
  readonly outputRule: boolean;
  readonly uncomparedPorts: readonly number[];
  /** Empty: by the size of the process. */
  readonly snapshot: string;
  /** Empty: the daemon's default. */
  readonly takeOver: string;
};

const nowUnixUs = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000);

/** What an operator can do where the daemon has no advice. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  'replication.diverged':
    "What it sends by timer can be left out with --uncompared PORT; else move it in another mode, as '--fallback precopy' would have done.",
  'replication.overrun': 'Try again, or move it in another mode: --mode precopy.',
  'replication.unsuitable': 'Move it in another mode: --mode precopy.',
  deadline: 'Give it more time with --deadline, or try again when the machines have less to do.',
  'replication.lagging': 'Try again when less is asked of it, or move it in another mode: --mode precopy.',
};

/** A copy that was given up has changed nothing: an operator wants to read that, once. */
export function sayUntouched(reason: string): string {
  return reason.includes('not touched') ? reason : `${reason}; the source was not touched`;
}

function failure({ code, message, hint, runsOn }: Failure, givenUp: FallbackEvent | undefined): ComicranError {
  const known = isErrorCode(code) ? code : 'migration.failed';
  // Most messages of a migration say it themselves.
  const where = runsOn === '' || message.includes(`at ${runsOn}`) ? '' : ` (it runs on ${runsOn})`;
  const saysWhere = message.includes('runs on at');
  const what = known.startsWith('replication.') && !saysWhere ? sayUntouched(message) : message;
  const advice = hint === '' ? HINTS[known] : hint;
  const before = givenUp === undefined ? '' : `; before that ${givenUp.fromMode} was given up: ${givenUp.reason}`;
  return new ComicranError(known, `${what}${where}${before}`, advice === undefined ? {} : { hint: advice });
}

/**
 * Moves a sandbox.
 * @param onEvent is told every event but the last. @throws the failure, with where the sandbox runs.
 */
export async function migrateSandbox(
  fleet: Fleet,
  name: string,
  options: MigrateOptions,
  onEvent: (event: MigrationEvent) => void,
): Promise<Migrated> {
  const toEndpoint = fleet.endpointOf(options.toVm);
  const from = await machineOf(fleet, name);
  const { uncomparedPorts, ...rest } = options;
  const startedUnixUs = nowUnixUs();
  const events = fleet.vm(from).migrate({ name, toEndpoint, uncomparedPorts: [...uncomparedPorts], ...rest });
  let beganUnixUs: number | undefined;
  let givenUp: FallbackEvent | undefined;
  for await (const event of events) {
    if (event.event.case === 'phase') beganUnixUs ??= nowUnixUs() - Number(event.event.value.atUs);
    switch (event.event.case) {
      case 'result':
        return {
          ...{ result: event.event.value, startedUnixUs, endedUnixUs: nowUnixUs() },
          beganUnixUs: beganUnixUs ?? startedUnixUs,
        };
      case 'failure':
        throw failure(event.event.value, givenUp);
      case 'fallback':
        givenUp = event.event.value;
        onEvent(event);
        break;
      default:
        onEvent(event);
    }
  }
  throw new ComicranError('peer.died', `${from} ended the migration of '${name}' without a result`, {
    hint: `'comicran smanager ps' shows where it runs now.`,
  });
}

/** A dry run: changes nothing. @param mode empty: all modes. */
export async function planMigration(
  fleet: Fleet,
  name: string,
  { toVm, mode, snapshot }: Pick<MigrateOptions, 'toVm' | 'mode' | 'snapshot'>,
): Promise<PlanMigrationResponse> {
  const toEndpoint = fleet.endpointOf(toVm);
  return await fleet.vm(await machineOf(fleet, name)).planMigration({ name, toVm, toEndpoint, mode, snapshot });
}

export type KnownMigrations = {
  /** Oldest first. */
  readonly migrations: readonly MigrationRecord[];
  /** Machines that do not answer: what they know is not among these. */
  readonly silent: readonly string[];
};

/** The migrations that the machines know of, under way or over, whoever asked for them. @param name empty: all */
export async function listMigrations(fleet: Fleet, name: string): Promise<KnownMigrations> {
  const silent: string[] = [];
  const answers = await Promise.all(
    fleet.vmNames().map(async (vm) => {
      try {
        return (await fleet.vm(vm).listMigrations({ name }, fleet.look)).migrations;
      } catch (thrown) {
        if (!isSilent(thrown)) throw thrown;
        silent.push(vm);
        return [];
      }
    }),
  );
  const migrations = answers.flat().toSorted((a, b) => Number(a.startedUnixMs - b.startedUnixMs));
  return { migrations, silent };
}

/**
 * Asks for an end of the migration that is under way; the sandbox then runs on where it is.
 * @returns the machine that has been asked
 */
export async function abortMigration(fleet: Fleet, name: string): Promise<string> {
  const vm = await machineOf(fleet, name);
  await fleet.vm(vm).abortMigration({ name });
  return vm;
}
