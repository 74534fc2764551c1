/** What `npm test -- …` is asked for. */
export type TestOptions = {
  readonly unitOnly: boolean;
  /** Files of root tests that may run at the same time. */
  readonly lanes: number;
  /** Parts of paths of test files; empty: all of them, and style and types too. */
  readonly words: readonly string[];
};

/** More would share two CPUs among tests that move servers with loads of their own. */
const MAX_LANES = 2;

/**
 * @param cpus of this machine.
 * @throws Error with what is wrong with them
 */
export function parseOptions(args: readonly string[], cpus: number): TestOptions {
  let lanes = Math.min(MAX_LANES, cpus);
  const words: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const [name, value] = args[at]!.split('=', 2);
    if (name === '--lanes') {
      lanes = Number(value ?? args[++at]);
      if (lanes !== 1 && lanes !== MAX_LANES) throw new Error('--lanes takes 1 or 2');
    } else if (name!.startsWith('-')) throw new Error(`no option '${name}' is known: there is --lanes 1|2`);
    else words.push(args[at]!);
  }
  return { unitOnly: words.includes('unit'), lanes, words: words.filter((word) => word !== 'unit') };
}
