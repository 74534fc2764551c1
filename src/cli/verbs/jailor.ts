import { type Command, InvalidArgumentError } from 'commander';
import { ComicranError, describeError, messageOf } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { DEFAULT_STATE_DIRECTORY } from '../../jailor/naming.ts';
import type { PlanOptions } from '../../jailor/plan.ts';
import type { RunOptions } from '../../jailor/run.ts';
import { needRoot } from '../root.ts';
import { registerLifecycle } from './jailor-lifecycle.ts';

const DEFAULT_HATCHERY_PID = 32_000;

type RunFlags = {
  readonly state: string;
  readonly dryRun?: true;
  readonly json?: true;
  readonly background?: true;
  readonly skeleton?: true;
  readonly hatcheryPid: number;
  readonly created?: true;
  readonly restarts: number;
  readonly outcomeFd?: number;
};

function descriptor(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 3) throw new InvalidArgumentError('A descriptor is a whole number from 3.');
  return value;
}

function pid(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 2) throw new InvalidArgumentError('A PID is a whole number from 2.');
  return value;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('A whole number is expected.');
  return value;
}

async function run(file: string, flags: RunFlags): Promise<void> {
  const options = {
    stateDirectory: flags.state,
    ...(flags.skeleton === true ? { skeleton: { hatcheryPid: flags.hatcheryPid } } : {}),
    ...(flags.created === true ? { created: true as const } : {}),
    restartCount: flags.restarts,
  };
  if (flags.background === true && flags.dryRun !== true) {
    await runBackground(file, options, flags.outcomeFd);
    return;
  }
  const config = await load(file);
  if (flags.dryRun === true) {
    await printPlan(config, { ...options, stdio: flags.background === true ? 'log' : 'inherit' }, flags.json === true);
    return;
  }
  const { runInForeground } = await import('../../jailor/run.ts');
  process.exitCode = await runInForeground(config, options);
}

async function load(file: string): Promise<FullConfig> {
  const { loadFullConfig } = await import('../../jailor/load-config.ts');
  return loadFullConfig(file);
}

async function runBackground(file: string, options: RunOptions, outcomeFd: number | undefined): Promise<void> {
  const { runInBackground } = await import('../../jailor/background.ts');
  const { writeOutcome } = await import('../../jailor/outcome.ts');
  let told = false;
  const tell = (problem?: unknown): void => {
    if (outcomeFd !== undefined && !told) writeOutcome(outcomeFd, problem);
    told = true;
  };
  try {
    await runInBackground(await load(file), options, () => tell());
  } catch (thrown) {
    tell(thrown);
    // What may still be open (the log, the socket) belongs to a sandbox that is not there.
    process.stderr.write(`comicran jailor: ${describeError(thrown)}\n`);
    process.exit(1);
  }
}

async function printPlan(config: FullConfig, options: PlanOptions, json: boolean): Promise<void> {
  const [{ planSandbox }, { describe }] = await Promise.all([
    import('../../jailor/plan.ts'),
    import('../../jailor/operations.ts'),
  ]);
  const plan = planSandbox(config, options);
  process.stdout.write(
    json ? `${JSON.stringify(plan, undefined, 2)}\n` : plan.map((one) => `${describe(one)}\n`).join(''),
  );
}

type CleanFlags = { readonly state: string; readonly store?: true; readonly json?: true };

async function clean(flags: CleanFlags): Promise<void> {
  needRoot('jailor removes sandboxes, which needs root');
  const { cleanStale } = await import('../../jailor/clean.ts');
  const { cleaned, failures } = await cleanStale(flags.state, { forget: true });
  // Afterwards: what the sandboxes that are removed now had of the store is unused, too.
  const removed = flags.store === true ? await cleanStore(flags.state) : undefined;
  if (flags.json === true) {
    process.stdout.write(`${JSON.stringify(removed === undefined ? cleaned : { cleaned, store: removed })}\n`);
  } else {
    for (const { id } of cleaned) process.stdout.write(`removed what was left of ${id}\n`);
    if (removed !== undefined) {
      const { formatBytes } = await import('../../base/units.ts');
      process.stdout.write(
        `removed ${removed.files} stored files that no sandbox uses: ${formatBytes(removed.bytes)}\n`,
      );
    }
  }
  if (failures.length > 0) {
    throw new ComicranError('sandbox.setup-failed', failures.map(messageOf).join('; '), {
      hint: 'See what holds it, and clean again.',
    });
  }
}

async function cleanStore(stateDirectory: string) {
  const [{ removeUnused }, { storeDirectory }] = await Promise.all([
    import('../../jailor/store/keeping.ts'),
    import('../../jailor/naming.ts'),
  ]);
  return removeUnused(storeDirectory(stateDirectory));
}

export function register(command: Command): void {
  command
    .command('run')
    .description('make a sandbox, run its root process, return its exit code, leave nothing behind')
    .argument('<config>', "full configuration, as 'comicran configer' writes it; - is standard input")
    .option('--state <directory>', 'where the store and the sandboxes are', DEFAULT_STATE_DIRECTORY)
    .option('--dry-run', 'print what would be done, and do nothing')
    .option('--json', 'with --dry-run: as JSON')
    .option('--background', "log to the sandbox's directory and be controlled by its socket, as sdaemon does it")
    .option('--outcome-fd <fd>', 'with --background: where to tell, as a line of JSON, how the start went', descriptor)
    .option('--skeleton', 'a sandbox without its process, for one that is about to be restored')
    .option('--hatchery-pid <pid>', 'PID inside of what the restored process comes out of', pid, DEFAULT_HATCHERY_PID)
    .option('--created', 'with --background: everything but the process, which waits for its start')
    .option('--restarts <count>', 'how often the process that is to be restored was started again', count, 0)
    .addHelpText(
      'after',
      '\nExamples:\n  comicran jailor run square.full.yaml\n' +
        '  comicran configer examples/square.yaml | comicran jailor run - --dry-run\n',
    )
    .action(run);
  command
    .command('clean')
    .description('remove what jailors that were killed have left')
    .option('--state <directory>', 'where the store and the sandboxes are', DEFAULT_STATE_DIRECTORY)
    .option('--store', 'remove stored files that no sandbox of this state directory uses, too')
    .option('--json', 'print what was removed as JSON')
    .addHelpText('after', '\nSandboxes that run are not touched.\n\nExample:\n  comicran jailor clean --store\n')
    .action(clean);
  registerLifecycle(command);
}
