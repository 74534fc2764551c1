/** The interactive prompt: the commands of smanager without its name, with completion, until `quit` or end of input. */
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { Command, CommanderError } from 'commander';
import { describeError, failureJson } from '../base/errors.ts';
import { explainMistakes } from '../base/usage-help.ts';
import type { CommandContext } from './command-context.ts';
import { addCommands } from './commands.ts';
import { completions, type Known } from './completion.ts';
import { PROGRAM } from './help.ts';
import { listSandboxes } from './operations.ts';
import { splitWords } from './words.ts';

export type PromptStreams = {
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  readonly isTerminal: boolean;
};

const GREETING = "COMIC-RAN manager. 'help' lists the commands, 'quit' or Ctrl-D leaves.\n";

/** A fresh command tree for each line: commander keeps option values from one parse to the next. */
function commandTree(context: CommandContext): Command {
  const program = new Command('comicran>').exitOverride().helpCommand('help [command]', 'explain a command');
  program.configureOutput({ writeOut: context.print, writeErr: context.print });
  addCommands(program, context);
  for (const command of program.commands)
    command.exitOverride().configureOutput({ writeOut: context.print, writeErr: context.print });
  program.command('quit').alias('exit').description('leave the prompt');
  program.usage('COMMAND [ARGUMENTS]');
  explainMistakes(program, '');
  return program;
}

/** Whoever copies an example from a shell may leave the name of the program in front of it. */
function withoutProgram(words: readonly string[]): readonly string[] {
  const program = PROGRAM.split(' ');
  return program.every((word, index) => words[index] === word) ? words.slice(program.length) : words;
}

/** Names in a directory that begin as the last part of a path does; none where it cannot be read. */
function filesThatBegin(path: string): string[] {
  const directory = path.slice(0, path.lastIndexOf('/') + 1);
  try {
    return readdirSync(directory || '.', { withFileTypes: true })
      .map((entry) => `${directory}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .filter((name) => name.startsWith(path) && (path.endsWith('.') || !name.slice(directory.length).startsWith('.')))
      .toSorted();
  } catch {
    return [];
  }
}

/** @returns the number of commands that failed: a script that is piped in can tell from it that not all went well. */
export async function runPrompt(context: CommandContext, streams: PromptStreams): Promise<number> {
  const tree = commandTree(context).commands;
  const known = async (): Promise<Known> => {
    const fleet = await context.fleet().catch(() => undefined);
    const rows = fleet === undefined ? [] : await listSandboxes(fleet).catch(() => []);
    return {
      commands: tree.map((command) => command.name()),
      sandboxes: rows.map(({ name }) => name),
      machines: fleet?.vmNames() ?? [],
      files: filesThatBegin,
      command: (name) => tree.find((command) => command.name() === name),
    };
  };
  const lines = createInterface({
    input: streams.input,
    output: streams.output,
    terminal: streams.isTerminal,
    completer: async (line: string) => completions(line, await known()),
  });
  let failures = 0;
  let ended = false;
  let running: AbortController | undefined;
  lines.once('close', () => {
    ended = true;
  });
  // Ctrl-C ends what goes on and on (logs --follow), or clears the line that is being typed.
  lines.on('SIGINT', () => {
    if (running !== undefined) {
      running.abort();
      return;
    }
    streams.output.write('^C\n');
    lines.write(null, { ctrl: true, name: 'u' });
    lines.prompt();
  });
  const run = async (words: readonly string[]): Promise<void> => {
    running = new AbortController();
    const { signal } = running;
    try {
      await commandTree({ ...context, interrupted: () => signal }).parseAsync([...words], { from: 'user' });
    } catch (thrown) {
      if (!(thrown instanceof CommanderError)) context.print(`${describeError(thrown)}\n`);
      else if (thrown.exitCode !== 0 && words.includes('--json')) context.print(failureJson(thrown));
      // Asking for help is no failure, though commander leaves through an error.
      if (!(thrown instanceof CommanderError && thrown.exitCode === 0)) failures++;
    } finally {
      running = undefined;
    }
  };
  // Piped input may have come to its end while a command is still carried out.
  const prompt = (): void => {
    if (!ended) lines.prompt();
  };
  if (streams.isTerminal) context.print(GREETING);
  lines.setPrompt(streams.isTerminal ? 'comicran> ' : '');
  prompt();
  try {
    for await (const line of lines) {
      const words = wordsOf(line, (problem) => context.print(`${problem}\n`));
      if (words === undefined) failures++;
      else if (words[0] === 'quit' || words[0] === 'exit') break;
      else if (words.length > 0) await run(withoutProgram(words));
      prompt();
    }
  } finally {
    lines.close();
  }
  return failures;
}

/** @returns undefined where the line cannot be split; what is wrong has been told. */
function wordsOf(line: string, tell: (problem: string) => void): string[] | undefined {
  try {
    return splitWords(line);
  } catch (thrown) {
    tell(describeError(thrown));
    return undefined;
  }
}
