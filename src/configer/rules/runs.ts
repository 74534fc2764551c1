/** What an interpreter is started with: by the root process itself, or by the first line of a script. */
import { posix } from 'node:path';
import type { Closure } from '../closure.ts';
import { type Chain, realPath } from '../host-files.ts';
import type { Place } from '../library-search.ts';
import type { RuleContext } from './rule.ts';

export type Run = {
  readonly interpreter: Place;
  readonly chain: Chain;
  /** What follows the interpreter's name: its options, the script, the script's arguments. */
  readonly words: readonly string[];
};

/** @param isInterpreter of the last component of a program's path, with links followed and without. */
export function runsOf({ base, programs }: RuleContext, isInterpreter: (name: string) => boolean): Run[] {
  const matches = ({ host, inside }: Place, chain: Chain): boolean =>
    isInterpreter(posix.basename(inside)) || isInterpreter(posix.basename(realPath(host, chain)));
  return programs.flatMap((program: Closure, index): Run[] => {
    const [own] = program.found;
    if (own === undefined) return [];
    // An executable that is only there to be started by others has arguments that nobody knows.
    const words = index === 0 ? base.process.arguments : [];
    if (matches(own.place, own.chain)) return [{ interpreter: own.place, chain: own.chain, words }];
    const interpreter = program.found.find(({ place, rule, chain }) => rule === 'interpreter' && matches(place, chain));
    if (interpreter === undefined) return [];
    return [{ interpreter: interpreter.place, chain: own.chain, words: [own.place.inside, ...words] }];
  });
}
