/** The words of `comicran jailor run`, read without a parser of command lines: loading one takes as long as all the rest. */
import { DEFAULT_HATCHERY_PID, DEFAULT_STATE_DIRECTORY } from '../jailor/naming.ts';

/** The least that a number of an option may be. */
export const LEAST = { outcomeFd: 3, hatcheryPid: 2, restarts: 0 } as const;

export type RunFlags = {
  readonly state: string;
  readonly dryRun?: true;
  readonly json?: true;
  readonly background?: true;
  readonly skeleton?: true;
  readonly hatcheryPid: number;
  readonly created?: true;
  readonly restarts: number;
  readonly outcomeFd?: number;
};

const SWITCHES: Readonly<Record<string, 'background' | 'skeleton' | 'created'>> = {
  '--background': 'background',
  '--skeleton': 'skeleton',
  '--created': 'created',
};
const NUMBERS: Readonly<Record<string, keyof typeof LEAST>> = {
  '--outcome-fd': 'outcomeFd',
  '--hatchery-pid': 'hatcheryPid',
  '--restarts': 'restarts',
};

export type RunWords = { readonly file: string; readonly flags: RunFlags };

/**
 * @param words behind `jailor run`.
 * @returns undefined: they ask for something else, or are mistaken. The parser of all command lines says how.
 */
export function readRunWords(words: readonly string[]): RunWords | undefined {
  const flags: { -readonly [Key in keyof RunFlags]: RunFlags[Key] } = {
    ...{ state: DEFAULT_STATE_DIRECTORY, hatcheryPid: DEFAULT_HATCHERY_PID, restarts: 0 },
  };
  let file: string | undefined;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    const isSwitch = Object.hasOwn(SWITCHES, word);
    const isNumber = Object.hasOwn(NUMBERS, word);
    if (isSwitch) flags[SWITCHES[word]!] = true;
    else if (isNumber || word === '--state') {
      const value = words[++at] ?? '';
      // What begins like an option is for the other parser to judge.
      if (value === '' || value.startsWith('-')) return undefined;
      if (!isNumber) flags.state = value;
      else {
        const name = NUMBERS[word]!;
        if (!/^[0-9]{1,9}$/.test(value) || Number(value) < LEAST[name]) return undefined;
        flags[name] = Number(value);
      }
    } else if (file === undefined && word !== '' && (word === '-' || !word.startsWith('-'))) file = word;
    else return undefined;
  }
  return file === undefined ? undefined : { file, flags };
}
