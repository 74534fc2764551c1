import { ComicranError } from '../base/errors.ts';

/**
 * Splits a line of the prompt into words as a shell would: spaces separate, quotes keep together, a backslash takes the
 * next character as it is. No expansion of any kind.
 */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let at = 0; at < line.length; at++) {
    const character = line[at]!;
    if (quote !== undefined) {
      if (character === quote) quote = undefined;
      else word = (word ?? '') + character;
    } else if (character === '"' || character === "'") {
      quote = character;
      word ??= '';
    } else if (character === '\\' && at + 1 < line.length) {
      word = (word ?? '') + line[++at]!;
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote !== undefined) throw new ComicranError('usage', `a ${quote} is not closed`);
  if (word !== undefined) words.push(word);
  return words;
}
