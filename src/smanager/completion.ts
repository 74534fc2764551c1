/** What Tab completes at the prompt: commands, then what the command takes in that place. Pure. */
import { FALLBACKS, MODES, SNAPSHOTS } from './migrations.ts';

/** A command as far as completion has to know it; commander's own commands are such. */
export type CompletedCommand = {
  readonly options: readonly { readonly long?: string | undefined; readonly required: boolean }[];
  readonly registeredArguments: readonly { name(): string; readonly variadic: boolean }[];
};

export type Known = {
  readonly commands: readonly string[];
  readonly sandboxes: readonly string[];
  readonly machines: readonly string[];
  /** Those that begin so, directories with a slash behind them. */
  files(beginning: string): readonly string[];
  command(name: string): CompletedCommand | undefined;
};

/** By the name of the option or argument that a word is for. */
function wordsFor(what: string | undefined, last: string, known: Known): readonly string[] {
  switch (what) {
    case 'name':
    case 'sandbox':
      return known.sandboxes;
    case 'vm':
    case '--on':
    case '--to':
      return known.machines;
    case '--mode':
      return MODES;
    case '--fallback':
      return FALLBACKS;
    case '--snapshot':
      return SNAPSHOTS;
    case '--protocol':
      return ['tcp', 'udp'];
    case 'file':
      return known.files(last);
    case 'command':
      return known.commands;
    default:
      return [];
  }
}

/** The option or argument that the last word is for: undefined behind the last one. */
function placeOf(command: CompletedCommand, words: readonly string[]): string | undefined {
  const takesValue = (word: string): boolean => command.options.some(({ long, required }) => long === word && required);
  let position = 0;
  for (let at = 0; at < words.length - 1; at++) {
    const word = words[at]!;
    if (takesValue(word)) {
      if (at === words.length - 2) return word;
      at++;
    } else if (!word.startsWith('-')) position++;
  }
  const { registeredArguments } = command;
  const last = registeredArguments.at(-1);
  return (registeredArguments[position] ?? (last?.variadic ? last : undefined))?.name();
}

function candidates(words: readonly string[], known: Known): readonly string[] {
  const [name = '', ...rest] = words;
  if (words.length <= 1) return known.commands;
  if (name === 'help') return words.length === 2 ? known.commands : [];
  const command = known.command(name);
  if (command === undefined) return [];
  const last = rest.at(-1) ?? '';
  const place = placeOf(command, rest);
  if (last.startsWith('-') && !place?.startsWith('-')) return command.options.flatMap(({ long }) => long ?? []);
  return wordsFor(place, last, known);
}

/** @returns what readline asks of a completer: the words that fit, and the part of the line that they stand for. */
export function completions(line: string, known: Known): [string[], string] {
  const words = line.trimStart().split(/\s+/);
  const last = words.at(-1) ?? '';
  const fitting = candidates(words, known).filter((candidate) => candidate.startsWith(last));
  const [only] = fitting;
  // With the only one comes the space behind it, so that the next word can follow; into a directory one goes on.
  return [fitting.length === 1 && !only!.endsWith('/') ? [`${only} `] : [...fitting], last];
}
