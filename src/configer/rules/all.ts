/** The rules in the order in which they are asked, and the asking. */

import { ComicranError } from '../../base/errors.ts';
import type { Dependencies } from '../base-config.ts';
import { type Closure, type ClosureContext, closureOf, closureOfLoaded, type Found } from '../closure.ts';
import { certificates } from './certificates.ts';
import { characterSets } from './character-sets.ts';
import { dlopenNotes } from './dlopen-notes.ts';
import { locale } from './locale.ts';
import { nameServices } from './name-services.ts';
import { namedLibraries } from './named-libraries.ts';
import { nodeModules } from './node-modules.ts';
import { plugins } from './plugins.ts';
import { pythonModules } from './python-modules.ts';
import { resolver } from './resolver.ts';
import type { Rule, RuleContext, Want } from './rule.ts';
import { timeZone } from './time-zone.ts';

/** Modules first: libraries that they load have needs of their own. */
const RULES: readonly Rule[] = [
  nodeModules,
  pythonModules,
  dlopenNotes,
  plugins,
  namedLibraries,
  nameServices,
  resolver,
  locale,
  characterSets,
  timeZone,
  certificates,
];

/** What a plugin brings may bring plugins; nothing known goes deeper than three. */
const MAX_ROUNDS = 8;

export type Brought = {
  /** Libraries and programs, with all that they need. */
  readonly objects: readonly Found[];
  readonly others: readonly Want[];
  readonly needsCache: boolean;
};

/** @param context as it is before any rule; `found` grows for the rules with what they bring. */
export async function askRules(context: RuleContext & ClosureContext, enabled: Dependencies): Promise<Brought> {
  const objects: Found[] = [];
  const others: Want[] = [];
  const seen = new Set<string>();
  let needsCache = false;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const before = seen.size;
    for (const rule of RULES.filter(({ name }) => enabled[name])) {
      for (const want of await rule.wants({ ...context, found: [...context.found, ...objects] })) {
        const key = keyOf(want);
        if (seen.has(key)) continue;
        seen.add(key);
        if (want.as !== 'object' && want.as !== 'library') {
          others.push(want);
          continue;
        }
        const closure = closureOfWant(want, context);
        objects.push(...(closure?.found ?? []));
        needsCache ||= closure?.needsCache ?? false;
      }
    }
    if (seen.size === before) break;
  }
  return { objects, others, needsCache };
}

/** @returns undefined for a library that is not there, and for a spare object that cannot be loaded here. */
function closureOfWant(
  want: Want & { readonly as: 'object' | 'library' },
  context: RuleContext & ClosureContext,
): Closure | undefined {
  const { chain, rule, by } = want;
  if (want.as === 'library') return closureOfLoaded(want.name, want.loadedBy, { chain, rule, by }, context);
  try {
    return closureOf(want.place, { chain, rule, by }, context);
  } catch (thrown) {
    if (want.spare !== true || !(thrown instanceof ComicranError) || thrown.code !== 'elf.missing-library')
      throw thrown;
    context.note(`${want.place.inside} is left out: ${thrown.message.replace(/ \(.*/s, '')}`);
    return undefined;
  }
}

function keyOf(want: Want): string {
  switch (want.as) {
    case 'link':
      return want.path;
    case 'library':
      return `${want.name} ${want.loadedBy.inside}`;
    default:
      return want.place.inside;
  }
}
