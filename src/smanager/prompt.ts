/** The interactive prompt: the commands of smanager without its name, with completion, until `quit` or end of input. */
import { createInterface } from 'node:readline/promises';
import { Command, CommanderError } from 'commander';
import { describeError, failureJson } from '../base/errors.ts';
import { explainMistakes } from '../base/usage-help.ts';
import type { CommandContext } from './command-context.ts';
import { addCommands } from './commands.ts';
import { PROGRAM } from './help.ts';
import { FALLBACKS, MODES } from './migrations.ts';
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

/** Words that can follow an option. */
const OPTION_VALUES: Readonly<Record<string, readonly string[]>> = { '--mode': MODES, '--fallback': FALLBACKS };

/**
 * Command names for the first word; after that an option's known values behind it, options where a dash has been typed,
 * and names of sandboxes and machines.
 *
 * @param optionsOf the long options of a command.
 */
export function completions(
  line: string,
  commands: readonly string[],
  names: readonly string[],
  optionsOf: (command: string) => readonly string[] = () => [],
): [string[], string] {
  const words = line.split(/\s+/);
  const last = words.at(-1) ?? '';
  const candidates =
    words.length <= 1
      ? commands
      : (OPTION_VALUES[words.at(-2) ?? ''] ?? (last.startsWith('-') ? optionsOf(words[0] ?? '') : names));
  const fitting = candidates.filter((candidate) => candidate.startsWith(last));
  // With the only one comes the space behind it, so that the next word can follow.
  return [fitting.length === 1 ? [`${fitting[0]} `] : fitting, last];
}

/** @returns the number of commands that failed: a script that is piped in can tell from it that not all went well. */
export async function runPrompt(context: CommandContext, streams: PromptStreams): Promise<number> {
  const names = async (): Promise<string[]> => {
    const fleet = await context.fleet();
    return [...(await listSandboxes(fleet)).map((row) => row.name), ...fleet.vmNames()];
  };
  const tree = commandTree(context).commands;
  const commands = tree.map((command) => command.name());
  const optionsOf = (name: string): string[] =>
    tree.find((command) => command.name() === name)?.options.flatMap(({ long }) => long ?? []) ?? [];
  const lines = createInterface({
    input: streams.input,
    output: streams.output,
    terminal: streams.isTerminal,
    completer: async (line: string) => completions(line, commands, await names().catch(() => []), optionsOf),
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
