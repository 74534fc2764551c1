/** The commands of smanager, once: the command line and the interactive prompt are two ways to type them. */
import { constants } from 'node:os';
import { type Command, Option } from 'commander';
import { FULL_CONFIG_MAX_BYTES } from '../base/full-config.ts';
import { readTextFile } from '../base/text-file.ts';
import { parseCount, parseDuration, parseSignal } from './arguments.ts';
import type { CommandContext } from './command-context.ts';
import type { Fleet } from './fleet.ts';
import { examples } from './help.ts';
import { addLifecycleCommands } from './lifecycle-commands.ts';
import { addMigrationCommands } from './migrate-command.ts';
import * as operations from './operations.ts';
import * as render from './render.ts';
import { addStoreCommand } from './store-command.ts';
import { addTakeoverCommand } from './takeover-command.ts';
import { telling } from './telling.ts';

const CONFIG_HINT = "Make one with 'comicran configer BASE.yaml -o FULL.yaml'.";

async function showLogs(
  context: CommandContext,
  name: string,
  { tail, follow = false, json }: { readonly tail: number; readonly follow?: boolean; readonly json?: boolean },
): Promise<void> {
  const signal = context.interrupted();
  const lines = operations.readLogs(await context.fleet(), name, { tail, follow, signal });
  try {
    for await (const line of lines) {
      const { stream, text, more } = line;
      const asJson = `${JSON.stringify({ unixUs: Number(line.unixUs), stream, text, ...(more ? { more } : {}) })}\n`;
      context.print(json ? asJson : render.renderLogLine(line));
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}

const START_HELP = `
It comes back when the process has bound every port that the configuration declares. Where it ends before that, or does
not bind them in time, the exit code is 1 and the sandbox stays, to be looked at with ps and logs.
${examples('start square.full.yaml --on vm1', 'start square.full.yaml --wait 30', 'start square.full.yaml --no-wait --json')}`;

export function addCommands(program: Command, context: CommandContext): void {
  const { print } = context;
  const json = (value: unknown): void => print(`${JSON.stringify(value, null, 2)}\n`);

  const list = <Row>(
    { json: asJson }: { readonly json?: boolean },
    ask: (fleet: Fleet) => Promise<Row[]>,
    show: (rows: readonly Row[]) => string,
  ): Promise<void> =>
    telling(context, { json: asJson }, async () => {
      const rows = await ask(await context.fleet());
      if (asJson) json(rows);
      else print(show(rows));
    });

  program
    .command('ps')
    .description('list the sandboxes of all machines')
    .option('--json', 'as a JSON array')
    .addHelpText('after', examples('ps', 'ps --json | jq -r .[].name'))
    .action((options: { json?: boolean }) =>
      list(options, operations.listSandboxes, (rows) => render.renderSandboxes(rows, context.nowUnixMs())),
    );

  program
    .command('vms')
    .description('list the machines and whether their daemons answer')
    .option('--json', 'as a JSON array')
    .addHelpText('after', examples('vms'))
    .action((options: { json?: boolean }) => list(options, operations.listVms, (rows) => render.renderVms(rows)));

  program
    .command('services')
    .description('list the services of the SDN node, with counters of requests')
    .option('--json', 'as a JSON array')
    .addHelpText('after', examples('services'))
    .action((options: { json?: boolean }) =>
      list(options, operations.listServices, (rows) => render.renderServices(rows)),
    );

  program
    .command('locations')
    .description('list who owns which sandbox, as the sdn has it on record')
    .option('--json', 'as a JSON array')
    .addHelpText('after', examples('locations'))
    .action((options: { json?: boolean }) =>
      list(options, operations.listLocations, (rows) => render.renderLocations(rows)),
    );

  program
    .command('set-service')
    .description('lead a port of the SDN node to a port of a sandbox')
    .argument('<port>', 'port of the SDN node', parseCount)
    .argument('<sandbox>', 'name of the sandbox')
    .argument('<sandbox-port>', 'port in the sandbox', parseCount)
    .option('--protocol <protocol>', 'udp or tcp', 'udp')
    .addHelpText('after', examples('set-service 6000 square 5006'))
    .action(async (port: number, sandbox: string, sandboxPort: number, options: { protocol: string }) => {
      const { protocol } = options;
      await operations.setService(await context.fleet(), { port, protocol, sandbox, sandboxPort });
      print(`port ${port}/${protocol} leads to '${sandbox}' port ${sandboxPort}\n`);
    });

  program
    .command('unset-service')
    .description('take a service away')
    .argument('<port>', 'port of the SDN node', parseCount)
    .option('--protocol <protocol>', 'udp or tcp', 'udp')
    .addHelpText('after', examples('unset-service 6000'))
    .action(async (port: number, options: { protocol: string }) => {
      await operations.unsetService(await context.fleet(), port, options.protocol);
      print(`port ${port}/${options.protocol} leads nowhere\n`);
    });

  program
    .command('start')
    .description('start a sandbox from a full configuration')
    .argument('<file>', 'full configuration (YAML or JSON), as configer writes it')
    .option('--on <vm>', 'machine (default: the one with the fewest sandboxes)')
    .addOption(
      new Option('--wait <time>', 'how long to wait until it has bound its ports: 30, 500ms, 2min…')
        .argParser(parseDuration)
        .default(10_000, '10'),
    )
    .option('--no-wait', 'do not wait until it has bound its ports')
    .option('--json', 'as a JSON object')
    .addHelpText('after', START_HELP)
    .action((file: string, { on, wait, ...options }: { on?: string; wait: number | false; json?: boolean }) =>
      telling(context, { json: options.json }, async () => {
        const waitMs = wait === false ? 0 : wait;
        const text = readTextFile(file, FULL_CONFIG_MAX_BYTES, CONFIG_HINT);
        const started = await operations.startSandbox(await context.fleet(), text, file, { on, waitMs });
        if (options.json) json(render.startedJson(started));
        else print(render.renderStarted(started, waitMs > 0));
      }),
    );

  program
    .command('terminate')
    .description('end a sandbox, wherever it runs')
    .argument('<name>', 'of the sandbox')
    .option('--signal <signal>', 'signal to ask with', parseSignal, constants.signals.SIGTERM)
    .option('--grace <ms>', 'milliseconds until SIGKILL', parseCount, 5000)
    .option('--json', 'as a JSON object')
    .addHelpText('after', examples('terminate square', 'terminate square --signal INT --grace 500'))
    .action((name: string, options: { signal: number; grace: number; json?: boolean }) =>
      telling(context, { json: options.json, name }, async () => {
        const { signal, grace: graceMs } = options;
        const ended = await operations.terminateSandbox(await context.fleet(), name, { signal, graceMs });
        if (options.json) json({ name, ...ended });
        else print(`'${name}' on ${ended.vm} has ended (${ended.exitSignal ?? `exit ${ended.exitCode ?? '?'}`})\n`);
      }),
    );

  addLifecycleCommands(program, context);
  addMigrationCommands(program, context);
  addTakeoverCommand(program, context);
  addStoreCommand(program, context);

  program
    .command('logs')
    .description('what a sandbox has written to stdout and stderr, on every machine that it was on')
    .argument('<name>', 'of the sandbox')
    .option('-f, --follow', 'go on with new lines until interrupted')
    .addOption(new Option('--tail <lines>', 'only the last lines').argParser(parseCount).default(0, 'all'))
    .option('--json', 'one JSON object a line')
    .addHelpText('after', examples('logs square --tail 5', 'logs square --follow'))
    .action((name: string, options: { follow?: boolean; tail: number; json?: boolean }) =>
      telling(context, { json: options.json, name }, () => showLogs(context, name, options)),
    );

  program
    .command('inspect')
    .description('everything that is known of a sandbox, as JSON')
    .argument('<name>', 'of the sandbox')
    .addHelpText('after', examples('inspect square', 'inspect square | jq .runtime.process'))
    .action((name: string) =>
      telling(context, { json: true, name }, async () =>
        json(await operations.inspectSandbox(await context.fleet(), name)),
      ),
    );
}
