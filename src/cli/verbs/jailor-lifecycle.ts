/** What an operator does with the sandboxes of a machine by their jailors, also with those of its daemon. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ComicranError } from '../../base/errors.ts';
import { DEFAULT_STATE_DIRECTORY } from '../../jailor/naming.ts';
import type { SandboxState } from '../../jailor/state.ts';
import { needRoot } from '../root.ts';

type Where = { readonly state: string; readonly json?: true };

const WHY_ROOT = 'jailor works on sandboxes, which needs root';
const DEFAULT_GRACE_MS = 5_000;

function milliseconds(text: string): number {
  const value = Number(text);
  if (!/^[0-9]{1,7}$/.test(text)) throw new InvalidArgumentError('Milliseconds are a whole number.');
  return value;
}

function terminalOf(text: string): { columns: number; rows: number; type: string } {
  const [, columns, rows, type] = /^([0-9]{1,4})x([0-9]{1,4})(?::([A-Za-z0-9+._-]{1,40}))?$/.exec(text) ?? [];
  if (columns === undefined) throw new InvalidArgumentError('A terminal is COLUMNSxROWS, and :TYPE.');
  return { columns: Number(columns), rows: Number(rows), type: type ?? 'xterm' };
}

function descriptor(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 3) throw new InvalidArgumentError('A descriptor is a whole number from 3.');
  return value;
}

/** In one word, as `list` shows it. */
function stateName({ phase, frozen, moving }: SandboxState): string {
  if (phase === 'exited') return 'stopped';
  return frozen ? 'frozen' : moving ? 'moving' : phase;
}

/** What a person wants to know beside it. */
function particulars({ phase, exit, restarts, health, guests }: SandboxState): string {
  const ended = phase === 'exited' ? exit : phase === 'restarting' ? restarts.last : null;
  const how = ended === null ? [] : [`${ended.signal ?? `exit ${ended.code ?? '?'}`} (${ended.reason})`];
  return [
    ...how,
    ...(restarts.gaveUp ? ['given up'] : []),
    ...(restarts.count > 0 ? [`${restarts.count} restarts`] : []),
    ...(health === null ? [] : [health.status]),
    ...(guests > 0 ? [`${guests} exec`] : []),
  ].join(', ');
}

async function list({ state, json }: Where): Promise<void> {
  const { listSandboxes } = await import('../../jailor/index.ts');
  const { formatTable } = await import('../../base/table.ts');
  const states = listSandboxes(state);
  if (json === true) {
    process.stdout.write(`${JSON.stringify(states, undefined, 2)}\n`);
    return;
  }
  const table = formatTable<SandboxState>(
    [
      { title: 'name', cell: ({ id }) => id },
      { title: 'state', cell: stateName },
      { title: 'address', cell: ({ address }) => address },
      { title: 'pid', cell: ({ process: root }) => String(root?.pid ?? '-'), align: 'right' },
      { title: 'particulars', cell: (one) => particulars(one) || '-' },
    ],
    states,
  );
  process.stdout.write(states.length === 0 ? `no sandboxes in ${state}\n` : table);
}

async function create(file: string, { state, json }: Where): Promise<void> {
  needRoot(WHY_ROOT);
  const { loadFullConfig } = await import('../../jailor/load-config.ts');
  const { startSandbox } = await import('../../jailor/index.ts');
  const client = await startSandbox({ stateDirectory: state, config: await loadFullConfig(file), created: true });
  client.close();
  tell(client.state, json, `'${client.id}' is created; start it with: comicran jailor start ${client.id}`);
}

function tell(state: SandboxState, json: true | undefined, words: string): void {
  process.stdout.write(json === true ? `${JSON.stringify(state, undefined, 2)}\n` : `${words}\n`);
}

async function connect({ state }: Where, id: string) {
  needRoot(WHY_ROOT);
  const { checkId } = await import('../../jailor/naming.ts');
  checkId(id);
  const { ControlClient } = await import('../../jailor/index.ts');
  return ControlClient.connect(state, id);
}

async function change(id: string, where: Where, what: 'run' | 'freeze' | 'thaw', words: string): Promise<void> {
  const client = await connect(where, id);
  try {
    tell(await client[what](), where.json, `'${id}' ${words}`);
  } finally {
    client.close();
  }
}

async function stop(id: string, where: Where & { readonly grace: number }): Promise<void> {
  const client = await connect(where, id);
  const state = await client.terminate({ graceMs: where.grace });
  const { code, signal } = state.exit ?? { code: null, signal: null };
  tell(state, where.json, `'${id}' has ended (${signal ?? `exit ${code ?? '?'}`})`);
}

async function remove(id: string, { state }: Where): Promise<void> {
  needRoot(WHY_ROOT);
  const { checkId, sandboxPaths } = await import('../../jailor/naming.ts');
  checkId(id);
  const { existsSync } = await import('node:fs');
  if (!existsSync(sandboxPaths(state, id).directory)) {
    throw new ComicranError('sandbox.unknown', `there is no sandbox '${id}' in ${state}`, {
      hint: "'comicran jailor list' shows those that there are; --state names another state directory.",
    });
  }
  const { forgetSandbox } = await import('../../jailor/index.ts');
  if (await forgetSandbox(state, id)) return void process.stdout.write(`removed what was left of ${id}\n`);
  throw new ComicranError('sandbox.exists', `the sandbox '${id}' has not ended`, {
    hint: `End it first: comicran jailor stop ${id}`,
  });
}

type ExecFlags = {
  readonly state: string;
  readonly withHostTools?: true;
  readonly terminal?: { readonly columns: number; readonly rows: number; readonly type: string };
  readonly sizesFd?: number;
  readonly tty: boolean;
};

async function exec(id: string, words: readonly string[], flags: ExecFlags): Promise<void> {
  needRoot(WHY_ROOT);
  const { checkId } = await import('../../jailor/naming.ts');
  checkId(id);
  const { execInForeground } = await import('../../jailor/exec.ts');
  const { stdin, stdout } = process;
  const own = { columns: stdout.columns, rows: stdout.rows, type: process.env['TERM'] ?? 'xterm' };
  const terminal = flags.terminal ?? (flags.tty && stdin.isTTY && stdout.isTTY ? own : undefined);
  process.exitCode = await execInForeground({
    ...{ stateDirectory: flags.state, id, words, hostTools: flags.withHostTools === true },
    ...(terminal === undefined ? {} : { terminal }),
    ...(flags.sizesFd === undefined ? {} : { sizesFd: flags.sizesFd }),
  });
}

/** An option that sdaemon uses and that is no operator's business. */
const internal = <T>(flags: string, parse: (text: string) => T): Option =>
  new Option(flags).argParser(parse).hideHelp();

const examplesOf = (lines: readonly string[]): string =>
  lines.length === 0
    ? ''
    : `\nExample${lines.length === 1 ? '' : 's'}:\n${lines.map((line) => `  comicran jailor ${line}\n`).join('')}`;

export function registerLifecycle(command: Command): void {
  const verb = (name: string, description: string, ...examples: readonly string[]): Command =>
    command
      .command(name)
      .description(description)
      .option('--state <directory>', 'where the store and the sandboxes are', DEFAULT_STATE_DIRECTORY)
      .addHelpText('after', examplesOf(examples));
  const json = ['--json', 'print the state of the sandbox as JSON'] as const;
  verb('create', 'make a sandbox in the background, all but its root process', 'create square.full.yaml')
    .argument('<config>', 'full configuration; - is standard input')
    .option(...json)
    .action(create);
  verb('start', 'start the root process of a created sandbox', 'start square')
    .argument('<sandbox>')
    .option(...json)
    .action((id: string, where: Where) => change(id, where, 'run', 'runs'));
  verb('freeze', 'stop every process of a sandbox where it is; a frozen sandbox is not migrated', 'freeze square')
    .argument('<sandbox>')
    .option(...json)
    .action((id: string, where: Where) => change(id, where, 'freeze', 'is frozen'));
  verb('thaw', 'let a frozen sandbox run on', 'thaw square')
    .argument('<sandbox>')
    .option(...json)
    .action((id: string, where: Where) => change(id, where, 'thaw', 'runs'));
  verb(
    'stop',
    'end a sandbox; how it ended and its log stay until it is removed or made again',
    ...['stop square', 'stop square --grace 500'],
  )
    .argument('<sandbox>')
    .option('--grace <ms>', 'milliseconds from SIGTERM to SIGKILL', milliseconds, DEFAULT_GRACE_MS)
    .option(...json)
    .action(stop);
  verb('remove', 'remove what a sandbox that has ended has left to be looked at', 'remove square')
    .argument('<sandbox>')
    .action(remove);
  verb(
    'list',
    'list the sandboxes of this machine and their states',
    ...['list', 'list --state /var/lib/comicran/lab/vm1', 'list --json | jq -r .[].id'],
  )
    .option('--json', 'as a JSON array')
    .action(list);
  verb('exec', 'run a program in a sandbox, as its root process runs: for a look inside')
    .argument('<sandbox>')
    .argument('<command...>', 'program of the sandbox and its arguments; put -- before it')
    .option('--with-host-tools', "with this machine's programs, read-only; the sandbox's files are in /sandbox")
    .option('--no-tty', 'no terminal of its own, also where the streams are one')
    // For sdaemon, which has the terminal at the other end of a connection.
    .addOption(internal('--terminal <COLUMNSxROWS:TYPE>', terminalOf))
    .addOption(internal('--sizes-fd <fd>', descriptor))
    .addHelpText(
      'after',
      '\nIts exit code is returned. While it runs the sandbox is not migrated, and it ends when the sandbox does.\n\n' +
        'Examples:\n  comicran jailor exec square -- /usr/bin/node --version\n' +
        '  comicran jailor exec square --with-host-tools -- sh\n',
    )
    .action(exec);
}
