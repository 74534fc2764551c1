/** The commands that move a sandbox. */
import type { Command } from 'commander';
import { ComicranError, messageOf } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import { parseDuration, parsePorts } from './arguments.ts';
import type { CommandContext } from './command-context.ts';
import { examples } from './help.ts';
import { MigrationProgress } from './migration-progress.ts';
import {
  abortMigration,
  FALLBACKS,
  listMigrations,
  type MigrateOptions,
  MODES,
  migrateSandbox,
  planMigration,
  SNAPSHOTS,
  TAKE_OVERS,
} from './migrations.ts';
import { migrationRecordJson, renderMigrations } from './render-history.ts';
import { choiceOf, planJson, renderPlan, renderResult, resultJson } from './render-migration.ts';
import { telling } from './telling.ts';

type RawOptions = {
  readonly to?: string;
  readonly mode?: string;
  readonly fallback?: string;
  readonly dryRun?: boolean;
  readonly outputRule?: boolean;
  readonly uncompared?: readonly number[];
  readonly snapshot?: string;
  readonly takeOver?: string;
  readonly deadline?: number;
  readonly json?: boolean;
};

const HELP = `
Modes:
  replicated  a silent copy gets the same input until it answers as the original does; then the right to answer passes
              to it between two packets. The server is stopped for about a millisecond, twice.
  postcopy    stopped until all of it but its memory has been moved; the memory follows while it runs
  precopy     memory is copied while it runs; stopped for what it has written since
  stopcopy    stopped, sent whole, let go on
Without --mode it is replicated where the daemon offers that. A copy that answers differently (because the answers depend
on a clock or on random numbers), or that cannot be made or fed, is thrown away, nobody outside has noticed, and the
sandbox is moved in the mode of --fallback: precopy, unless you say otherwise. With --fallback none it stays where it is.

Ctrl-C asks for an end of the migration: the sandbox runs on where it is, unless the cutover has begun.
${examples(
  'migrate square vm2',
  'migrate square vm2 --dry-run',
  'migrate square vm2 --mode replicated --fallback none --deadline 10',
  'migrate square vm2 --uncompared 7000 --output-rule',
  'migrate square vm2 --mode stopcopy --json',
)}`;

function checkWord(what: string, word: string | undefined, known: readonly string[]): string {
  if (word === undefined || known.includes(word)) return word ?? '';
  throw new ComicranError('usage', `there is no ${what} '${word}'`, {
    hint: suggestion(word, known, `--${what} is one of`),
  });
}

/** @throws ComicranError usage */
function checkedOptions(vm: string | undefined, raw: RawOptions): MigrateOptions {
  const toVm = vm ?? raw.to;
  if (toVm === undefined || (raw.to !== undefined && raw.to !== toVm)) {
    throw new ComicranError('usage', toVm === undefined ? 'to which machine?' : `to '${toVm}' or to '${raw.to}'?`, {
      hint: "Name one machine: migrate NAME VM; 'vms' lists them.",
    });
  }
  const mode = checkWord('mode', raw.mode, MODES);
  const fallback = checkWord('fallback', raw.fallback, FALLBACKS);
  const snapshot = checkWord('snapshot', raw.snapshot, SNAPSHOTS);
  const takeOver = checkWord('take-over', raw.takeOver, TAKE_OVERS);
  const [other] = Object.entries({
    '--fallback': fallback !== '',
    '--output-rule': raw.outputRule === true,
    '--uncompared': raw.uncompared !== undefined,
    '--snapshot': snapshot !== '',
    '--take-over': takeOver !== '',
  }).find(([, given]) => given) ?? [undefined];
  if (other !== undefined && mode !== '' && mode !== 'replicated') {
    throw new ComicranError('usage', `${other} has no meaning in mode ${mode}`, {
      hint: `It belongs to mode replicated; leave ${other} or --mode ${mode} out.`,
    });
  }
  return {
    ...{ toVm, mode, fallback, snapshot, takeOver },
    deadlineMs: raw.deadline ?? 0,
    outputRule: raw.outputRule ?? false,
    uncomparedPorts: raw.uncompared ?? [],
  };
}

/** @returns why it would be refused; undefined: it would not. */
async function dryRun(
  context: CommandContext,
  name: string,
  options: MigrateOptions,
  asJson: boolean,
): Promise<ComicranError | undefined> {
  const plan = await planMigration(await context.fleet(), name, options);
  const choice = choiceOf(plan, options.fallback);
  const { toVm } = options;
  context.print(
    asJson ? `${JSON.stringify(planJson(name, toVm, plan, choice), null, 2)}\n` : renderPlan(name, toVm, plan, choice),
  );
  if (choice.mode !== undefined) return undefined;
  const refused = plan.modes[0];
  const hint = refused === undefined || refused.hint === '' ? {} : { hint: refused.hint };
  return new ComicranError(
    'migration.refused',
    `'${name}' cannot be moved to ${toVm}: ${refused?.whyNot ?? 'no mode'}`,
    hint,
  );
}

async function migrate(context: CommandContext, name: string, options: MigrateOptions, asJson: boolean): Promise<void> {
  const { print } = context;
  const progress = new MigrationProgress(context.progressColumns());
  const tell = (text: string): void => {
    if (text !== '') context.progress(text);
  };
  const interrupted = context.interrupted();
  const abort = async (): Promise<void> => {
    tell(progress.aside('  asking for an end of the migration; the sandbox then runs on where it is'));
    try {
      await abortMigration(await context.fleet(), name);
      tell(progress.aside('  its machine has heard it'));
    } catch (thrown) {
      tell(progress.aside(`  it goes on: ${messageOf(thrown)}`));
    }
  };
  interrupted.addEventListener('abort', abort);
  try {
    const moved = await migrateSandbox(await context.fleet(), name, options, (event) => tell(progress.show(event)));
    const last = moved.result.phases.at(-1);
    tell(progress.end(last === undefined ? undefined : Number(last.durationUs)));
    print(asJson ? `${JSON.stringify(resultJson(name, moved), null, 2)}\n` : renderResult(name, moved.result));
  } catch (thrown) {
    tell(progress.end());
    throw thrown;
  } finally {
    interrupted.removeEventListener('abort', abort);
  }
}

export function addMigrationCommands(program: Command, context: CommandContext): void {
  program
    .command('migrate')
    .description('move a running sandbox to another machine')
    .argument('<name>', 'of the sandbox')
    .argument('[vm]', 'destination machine')
    .option('--to <vm>', 'the same as the argument')
    .option('--mode <mode>', `${MODES.join(', ')} (default: replicated, where the daemon offers it)`)
    .option('--fallback <mode>', `when replicated does not fit: ${FALLBACKS.join(', ')} (default: precopy)`)
    .option('--dry-run', 'say in which modes it could be moved and how long that would take; change nothing')
    .option('--output-rule', 'the destination may answer only when it has the whole log; a longer cutover')
    .option('--uncompared <port>', 'what is sent from or to this port is not compared; may be repeated', parsePorts)
    .option('--snapshot <way>', `${SNAPSHOTS.join(', ')} (default: tracked where there is much memory)`)
    .option(
      '--take-over <word>',
      `a whole copy whose source falls silent: ${TAKE_OVERS.join(', ')} (default: ask, see takeover --help)`,
    )
    .option(
      '--deadline <time>',
      'give up, and run on at the source, after 30, 500ms, 2min… (default: 60)',
      parseDuration,
    )
    .option('--json', 'the result as a JSON object')
    .addHelpText('after', HELP)
    .action(async (name: string, vm: string | undefined, raw: RawOptions) => {
      let refused: ComicranError | undefined;
      await telling(context, { json: raw.json, name }, async () => {
        const options = checkedOptions(vm, raw);
        if (raw.dryRun === true) refused = await dryRun(context, name, options, raw.json === true);
        else await migrate(context, name, options, raw.json === true);
      });
      // That nothing can be done is what the plan says already.
      if (refused !== undefined) throw refused;
    });

  program
    .command('migrations')
    .description('list the migrations that are under way and the last ones that were, with what became of them')
    .argument('[name]', 'of this sandbox only')
    .option('--json', 'as a JSON array')
    .addHelpText(
      'after',
      `\nIt is known to the machines, also of a migration whose smanager was killed.\n${examples('migrations square')}`,
    )
    .action(async (name: string | undefined, { json }: { json?: boolean }) => {
      const { migrations, silent } = await listMigrations(await context.fleet(), name ?? '');
      context.print(
        json === true
          ? `${JSON.stringify(migrations.map(migrationRecordJson), null, 2)}\n`
          : renderMigrations(migrations, context.nowUnixMs(), name),
      );
      for (const vm of silent) context.progress(`${vm} does not answer: migrations away from it are not listed\n`);
    });

  program
    .command('abort')
    .description('give up a migration that is under way; the sandbox runs on where it is')
    .argument('<name>', 'of the sandbox')
    .option('--json', 'as a JSON object')
    .addHelpText(
      'after',
      `\nOnce the cutover has begun it is too late, and the migration ends well.\n${examples('abort square', 'abort square --json')}`,
    )
    .action((name: string, { json }: { json?: boolean }) =>
      telling(context, { json, name }, async () => {
        const vm = await abortMigration(await context.fleet(), name);
        const text = `the migration of '${name}' is being aborted\n`;
        context.print(json === true ? `${JSON.stringify({ name, vm, state: 'aborting' }, null, 2)}\n` : text);
      }),
    );
}
