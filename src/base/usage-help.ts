/** What is said of a command line that commander does not understand: what the command takes, so that nobody has to look. */
import type { Command } from 'commander';

/** @param called as in {@link explainMistakes}, with the name of the command; empty: a prompt itself */
function nextOf(command: Command, called: string, helpWords: string): string {
  const names = command.commands.map((each) => each.name());
  const options = command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '');
  const takes = [
    ...(names.length === 0 ? [] : [`Its commands are ${names.join(', ')}.`]),
    ...(options.length === 0 ? [] : [`Its options are ${options.join(', ')}.`]),
    `'${helpWords}' explains.`,
  ].join(' ');
  return called === '' ? `  next: ${takes}` : `  next: ${called} ${command.usage()}\n        ${takes}`;
}

/**
 * For a command and those below it: a mistake is reported as every failure is, with the next step.
 * @param called how the command is typed: `comicran smanager`; empty: it is not typed (a prompt)
 */
export function explainMistakes(command: Command, called: string): void {
  explain(command, called, called === '' ? 'help' : `${called} --help`, called === '' ? '' : 'comicran: ');
}

function explain(command: Command, called: string, helpWords: string, prefix: string): void {
  command.configureOutput({
    ...command.configureOutput(),
    outputError: (text, write) => write(text.replace(/^error: /, prefix)),
  });
  command.showHelpAfterError(nextOf(command, called, helpWords));
  for (const each of command.commands) {
    const below = `${called} ${each.name()}`.trim();
    explain(each, below, prefix === '' ? `help ${each.name()}` : `${below} --help`, prefix);
  }
}
