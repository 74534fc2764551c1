/** The commands of smanager, once: the command line and the interactive prompt are two ways to type them. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { ComicranError } from '../base/errors.ts';
import { parseCount, parseDuration } from './arguments.ts';
import type { CommandContext } from './command-context.ts';
import { addMigrationCommands } from './migrate-command.ts';
import * as operations from './operations.ts';
import * as render from './render.ts';

function parseSignal(text: string): number {
  const name = text.toUpperCase();
  const number = constants.signals[(name.startsWith('SIG') ? name : `SIG${name}`) as NodeJS.Signals];
  if (number !== undefined) return number;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 64) return value;
  throw new InvalidArgumentError('a signal name (TERM, KILL) or number is expected');
}

function readConfig(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ComicranError('config.missing-file', `cannot read ${file}`, {
      cause,
      hint: "Make one with 'comicran configer BASE.yaml -o FULL.yaml'.",
    });
  }
}

const START_HELP = `
It comes back when the process has bound every port that the configuration declares. Where it ends before that, or does
not bind them in time, the exit code is 1 and the sandbox stays, to be looked at with ps and logs.

Examples:
  start square.full.yaml --on vm1
  start square.full.yaml --on vm1 --wait 30
  start square.full.yaml --no-wait`;

export function addCommands(program: Command, context: CommandContext): void {
  const { print } = context;
  const json = (value: unknown): void => print(`${JSON.stringify(value, null, 2)}\n`);

  program
    .command('ps')
    .description('list the sandboxes of all machines')
    .option('--json', 'as a JSON array')
    .action(async (options: { json?: boolean }) => {
      const rows = await operations.listSandboxes(await context.fleet());
      if (options.json) json(rows);
      else print(render.renderSandboxes(rows, context.nowUnixMs()));
    });

  program
    .command('vms')
    .description('list the machines and whether their daemons answer')
    .option('--json', 'as a JSON array')
    .action(async (options: { json?: boolean }) => {
      const rows = await operations.listVms(await context.fleet());
      if (options.json) json(rows);
      else print(render.renderVms(rows));
    });

  program
    .command('services')
    .description('list the services of the SDN node, with counters of requests')
    .option('--json', 'as a JSON array')
    .action(async (options: { json?: boolean }) => {
      const rows = await operations.listServices(await context.fleet());
      if (options.json) json(rows);
      else print(render.renderServices(rows));
    });

  program
    .command('locations')
    .description('list who owns which sandbox, as the sdn has it on record')
    .option('--json', 'as a JSON array')
    .action(async (options: { json?: boolean }) => {
      const rows = await operations.listLocations(await context.fleet());
      if (options.json) json(rows);
      else print(render.renderLocations(rows));
    });

  program
    .command('set-service')
    .description('lead a port of the SDN node to a port of a sandbox')
    .argument('<port>', 'port of the SDN node', parseCount)
    .argument('<sandbox>')
    .argument('<sandbox-port>', 'port in the sandbox', parseCount)
    .option('--protocol <protocol>', 'udp or tcp', 'udp')
    .addHelpText('after', '\nExample:\n  set-service 6000 square 5006')
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
    .action(async (file: string, options: { on?: string; wait: number | false; json?: boolean }) => {
      const { on, wait } = options;
      const waitMs = wait === false ? 0 : wait;
      const started = await operations.startSandbox(await context.fleet(), readConfig(file), file, { on, waitMs });
      if (options.json) json(render.startedJson(started));
      else print(render.renderStarted(started, waitMs > 0));
    });

  program
    .command('terminate')
    .description('end a sandbox, wherever it runs')
    .argument('<name>')
    .option('--signal <signal>', 'signal to ask with', parseSignal, constants.signals.SIGTERM)
    .option('--grace <ms>', 'milliseconds until SIGKILL', parseCount, 5000)
    .option('--json', 'as a JSON object')
    .action(async (name: string, options: { signal: number; grace: number; json?: boolean }) => {
      const ended = await operations.terminateSandbox(await context.fleet(), name, {
        signal: options.signal,
        graceMs: options.grace,
      });
      if (options.json) json({ name, ...ended });
      else print(`'${name}' on ${ended.vm} has ended (${ended.exitSignal ?? `exit ${ended.exitCode ?? '?'}`})\n`);
    });

  addMigrationCommands(program, context);

  program
    .command('logs')
    .description('what a sandbox has written to stdout and stderr, on every machine that it was on')
    .argument('<name>')
    .option('-f, --follow', 'go on with new lines until interrupted')
    .option('--tail <lines>', 'only the last lines', parseCount, 0)
    .option('--json', 'one JSON object a line')
    .action(async (name: string, options: { follow?: boolean; tail: number; json?: boolean }) => {
      const signal = context.interrupted();
      const lines = operations.readLogs(await context.fleet(), name, {
        tail: options.tail,
        follow: options.follow ?? false,
        signal,
      });
      try {
        for await (const line of lines) {
          const { stream, text } = line;
          print(
            options.json
              ? `${JSON.stringify({ unixUs: Number(line.unixUs), stream, text })}\n`
              : render.renderLogLine(line),
          );
        }
      } catch (thrown) {
        if (!signal.aborted) throw thrown;
      }
    });

  program
    .command('inspect')
    .description('everything that is known of a sandbox, as JSON')
    .argument('<name>')
    .action(async (name: string) => json(await operations.inspectSandbox(await context.fleet(), name)));
}
