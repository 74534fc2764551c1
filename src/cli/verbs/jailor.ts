import { type Command, InvalidArgumentError, Option } from 'commander';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { DEFAULT_HATCHERY_PID, DEFAULT_STATE_DIRECTORY } from '../../jailor/naming.ts';
import { needRoot } from '../root.ts';
import { LEAST, type RunFlags } from '../run-words.ts';
import { registerLifecycle } from './jailor-lifecycle.ts';

const wholeNumber =
  (least: number, problem: string) =>
  (text: string): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least) throw new InvalidArgumentError(problem);
    return value;
  };
const descriptor = wholeNumber(LEAST.outcomeFd, 'A descriptor is a whole number from 3.');
const pid = wholeNumber(LEAST.hatcheryPid, 'A PID is a whole number from 2.');
const count = wholeNumber(LEAST.restarts, 'A whole number is expected.');

async function run(file: string, flags: RunFlags): Promise<void> {
  const { runJailor } = await import('./jailor-run.ts');
  await runJailor(file, flags);
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

const HELP = `
docs/jailor.md says what a sandbox is made of. smanager does the same on every machine, wherever the sandbox is.

Examples:
  comicran configer examples/square.yaml -o square.full.yaml
  comicran jailor run square.full.yaml                          in the foreground, until Ctrl-C
  comicran jailor create square.full.yaml                       in the background; then: comicran jailor start square
  comicran jailor list --state /var/lib/comicran/lab/vm1        those of a machine of the lab
`;

export function register(command: Command): void {
  command
    .command('run')
    .description('make a sandbox, run its root process, return its exit code, leave nothing behind')
    .argument('<config>', "full configuration, as 'comicran configer' writes it; - is standard input")
    .option('--state <directory>', 'where the store and the sandboxes are', DEFAULT_STATE_DIRECTORY)
    .option('--dry-run', 'print what would be done, and do nothing')
    .option('--json', 'with --dry-run: as JSON')
    // How sdaemon calls it: in the background, without the process where that is about to be restored.
    .addOption(new Option('--background', 'log to a file and be controlled by a socket').hideHelp())
    .addOption(
      new Option('--outcome-fd <fd>', 'where to tell, as a line of JSON, how the start went')
        .argParser(descriptor)
        .hideHelp(),
    )
    .addOption(new Option('--skeleton', 'without the process, which is about to be restored').hideHelp())
    .addOption(
      new Option('--hatchery-pid <pid>', 'PID inside of what that process comes out of')
        .argParser(pid)
        .default(DEFAULT_HATCHERY_PID)
        .hideHelp(),
    )
    .addOption(new Option('--created', 'everything but the process, which waits for its start').hideHelp())
    .addOption(
      new Option('--restarts <count>', 'how often the process was started again before')
        .argParser(count)
        .default(0)
        .hideHelp(),
    )
    .addHelpText(
      'after',
      '\nCtrl-C and signals reach the process. In the background, to be looked after by its name: comicran jailor create.\n' +
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
  command.addHelpText('after', HELP);
}
