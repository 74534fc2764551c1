/** What a command line of Python runs: `python [options] [-c code | -m module | script] [arguments]`. */
export type PythonCommand =
  | { readonly kind: 'script' | 'module' | 'code'; readonly what: string }
  /** Standard input or the interactive prompt: nothing that could be looked at. */
  | { readonly kind: 'none' };

/** Options that take the next word, if nothing stands behind them in their own. */
const WITH_WORD = ['-W', '-X', '--check-hash-based-pycs'];

export function parsePythonCommand(words: readonly string[]): PythonCommand {
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (!word.startsWith('-')) return { kind: 'script', what: word };
    if (word === '-') return { kind: 'none' };
    if (WITH_WORD.includes(word)) index++;
    // Letters may stand together: -uc CODE, -Im MODULE.
    const last = /^-[A-VX-Za-z]*?([cm])(.*)$/.exec(word);
    if (last === null || word.startsWith('--') || /^-[WX]/.test(word)) continue;
    const what = last[2] === '' ? words[index + 1] : last[2];
    return what === undefined ? { kind: 'none' } : { kind: last[1] === 'c' ? 'code' : 'module', what };
  }
  return { kind: 'none' };
}
