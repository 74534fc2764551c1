import type { Command } from 'commander';
import { ComicranError } from '../../base/errors.ts';
import { suggestion } from '../../base/suggest.ts';
import type { CommandContext } from '../../smanager/command-context.ts';
import { addCommands } from '../../smanager/commands.ts';
import type { Fleet } from '../../smanager/fleet.ts';

/** Opens the connections once, from the network namespace that the configuration names. */
function fleetOpener(configFile: () => string | undefined): { open: () => Promise<Fleet>; close: () => void } {
  let fleet: Promise<Fleet> | undefined;
  const open = async (): Promise<Fleet> => {
    const { loadManagerConfig } = await import('../../smanager/manager-config.ts');
    const { openFleet } = await import('../../smanager/fleet.ts');
    const config = loadManagerConfig({
      option: configFile(),
      environment: process.env['COMICRAN_CONFIG'],
      lab: process.env['COMICRAN_LAB'],
    });
    if (config.netns !== undefined) {
      const { enterNetworkNamespace } = await import('../../linux/netns.ts');
      if (process.getuid?.() !== 0) {
        throw new ComicranError('needs.root', 'the lab is reached through a network namespace, which needs root');
      }
      enterNetworkNamespace({ path: config.netns });
    }
    return openFleet(config);
  };
  return {
    open: () => {
      fleet ??= open();
      return fleet;
    },
    close: () => void fleet?.then((opened) => opened.close()).catch(() => undefined),
  };
}

export function register(command: Command): void {
  command
    .option(
      '--config <file>',
      'where the daemons are (default: COMICRAN_CONFIG, /etc/comicran/manager.json, a running lab)',
    )
    .addHelpText(
      'after',
      '\nWithout a command: the interactive prompt, which takes the same commands and completes them and their names (Tab);\n' +
        'Ctrl-C there ends what is going on, a migration for example, and the sandbox runs on where it is.\n\nExamples:\n' +
        '  comicran smanager ps\n' +
        '  comicran smanager start square.full.yaml --on vm1\n' +
        '  comicran smanager migrate square vm2\n' +
        '  comicran smanager logs square --follow\n',
    );
  const fleet = fleetOpener(() => command.opts<{ config?: string }>().config);
  const context: CommandContext = {
    fleet: fleet.open,
    print: (text) => void process.stdout.write(text),
    progress: (text) => void process.stderr.write(text),
    progressColumns: () => (process.stderr.isTTY ? process.stderr.columns : undefined),
    nowUnixMs: Date.now,
    interrupted: () => {
      const controller = new AbortController();
      process.once('SIGINT', () => controller.abort());
      return controller.signal;
    },
  };
  const { stdin, stdout, stderr } = process;
  const exec = {
    streams: { stdin, stdout, stderr, terminalType: process.env['TERM'] ?? 'xterm' },
    exitWith: (status: number) => {
      process.exitCode = status;
    },
  };
  addCommands(command, { ...context, exec });
  command.hook('postAction', fleet.close);
  command.argument('[command]').action(async (word: string | undefined) => {
    if (word !== undefined) {
      const known = command.commands.map((each) => each.name());
      throw new ComicranError('usage', `'${word}' is not a command of smanager`, {
        hint: suggestion(word, known, 'The commands are'),
      });
    }
    const { runPrompt } = await import('../../smanager/prompt.ts');
    const failures = await runPrompt(context, {
      input: process.stdin,
      output: process.stdout,
      isTerminal: process.stdin.isTTY && process.stdout.isTTY,
    });
    // A person has seen what failed; a script that was piped in has not.
    process.exitCode = failures > 0 && !process.stdin.isTTY ? 1 : 0;
  });
}
