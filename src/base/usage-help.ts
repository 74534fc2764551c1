/** What is said of a command line that commander does not understand: what the command takes, so that nobody has to look. */
import type { Command } from 'commander';

function nextOf(command: Command, called: string): string {
  const names = command.commands.map((each) => each.name());
  const options = command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '');
  const takes = [
    ...(names.length === 0 ? [] : [`Its commands are ${names.join(', ')}.`]),
    ...(options.length === 0 ? [] : [`Its options are ${options.join(', ')}.`]),
  ];
  const usage = `${called} ${command.usage()}`.trim();
  return `  next: ${usage}\n        ${[...takes, `'${called} --help' explains.`].join(' ')}`;
}

/**
 * For a command and those below it: a mistake is reported as every failure is, with the next step.
 * @param called how the command is typed: `comicran smanager`; empty: it is not typed (a prompt)
 */
export function explainMistakes(command: Command, called: string): void {
  const before = command.configureOutput();
  command.configureOutput({
    ...before,
    outputError: (text, write) => write(text.replace(/^error: /, 'comicran: ')),
  });
  command.showHelpAfterError(called === '' ? "  next: 'help' lists the commands." : nextOf(command, called));
  for (const each of command.commands) explainMistakes(each, `${called} ${each.name()}`.trim());
}
