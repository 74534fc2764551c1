/** Commands for a sandbox that runs: stop, freeze, thaw, exec. */
import { constants } from 'node:os';
import type { Command } from 'commander';
import { ComicranError } from '../base/errors.ts';
import { parseCount, parseSignal } from './arguments.ts';
import type { CommandContext } from './command-context.ts';
import { execInSandbox } from './exec.ts';
import { examples, PROGRAM } from './help.ts';
import { machineOf } from './operations.ts';
import { telling } from './telling.ts';

export function addLifecycleCommands(program: Command, context: CommandContext): void {
  const { print } = context;
  const json = (value: unknown): void => print(`${JSON.stringify(value, null, 2)}\n`);

  program
    .command('stop')
    .description('end a sandbox, and keep how it ended and its log until it is started again or terminated')
    .argument('<name>', 'of the sandbox')
    .option('--signal <signal>', 'signal to ask with', parseSignal, constants.signals.SIGTERM)
    .option('--grace <ms>', 'milliseconds until SIGKILL', parseCount, 5000)
    .option('--json', 'as a JSON object')
    .addHelpText('after', examples('stop square', 'stop square --signal INT --grace 500'))
    .action((name: string, options: { signal: number; grace: number; json?: boolean }) =>
      telling(context, { json: options.json, name }, async () => {
        const { signal, grace: graceMs } = options;
        const fleet = await context.fleet();
        const vm = await machineOf(fleet, name);
        const { exitCode = null, exitSignal = null } = await fleet.vm(vm).stop({ name, signal, graceMs });
        if (options.json) json({ name, vm, exitCode, exitSignal });
        else print(`'${name}' on ${vm} has ended (${exitSignal ?? `exit ${exitCode ?? '?'}`})\n`);
      }),
    );

  for (const [verb, description, done] of [
    ['freeze', 'stop every process of a sandbox where it is; a frozen sandbox is not migrated', 'is frozen'],
    ['thaw', 'let a frozen sandbox run on', 'runs'],
  ] as const) {
    program
      .command(verb)
      .description(description)
      .argument('<name>', 'of the sandbox')
      .option('--json', 'as a JSON object')
      .addHelpText('after', examples(`${verb} square`))
      .action((name: string, options: { json?: boolean }) =>
        telling(context, { json: options.json, name }, async () => {
          const fleet = await context.fleet();
          const vm = await machineOf(fleet, name);
          await fleet.vm(vm)[verb]({ name });
          if (options.json) json({ name, vm, state: verb === 'freeze' ? 'frozen' : 'running' });
          else print(`'${name}' on ${vm} ${done}\n`);
        }),
      );
  }

  const { exec } = context;
  if (exec === undefined) {
    program
      .command('exec')
      .description('run a program in a sandbox: in a shell alone, not at this prompt')
      .argument('[words...]')
      .allowUnknownOption()
      .action(() => {
        throw new ComicranError('usage', 'exec needs the terminal, which the prompt has itself', {
          hint: `In another shell: '${PROGRAM} exec NAME -- PROGRAM…'.`,
        });
      });
    return;
  }
  program
    .command('exec')
    .description('run a program in a sandbox, wherever it is: for a look inside')
    .argument('<name>', 'of the sandbox')
    .argument('<command...>', 'program of the sandbox and its arguments; put -- before it')
    .option('--with-host-tools', "with the machine's programs, read-only; the sandbox's files are in /sandbox")
    .option('--no-tty', 'no terminal of its own, also where the streams are one')
    .addHelpText(
      'after',
      `\nIts exit code is returned. While it runs the sandbox is not migrated.\n${examples(
        'exec square -- /usr/bin/node --version',
        'exec square --with-host-tools -- sh',
      )}`,
    )
    .action(async (name: string, words: string[], options: { withHostTools?: boolean; tty: boolean }) => {
      const request = { name, words, hostTools: options.withHostTools === true, terminal: options.tty };
      exec.exitWith(await execInSandbox(await context.fleet(), request, exec.streams));
    });
}
