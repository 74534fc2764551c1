/** Libraries that an object says it loads by name: notes of the specification ELF_DLOPEN_METADATA (systemd has them). */
import { elfOf, librariesOf } from './libraries.ts';
import type { Rule, RuleContext, Want } from './rule.ts';

export const dlopenNotes: Rule = {
  name: 'dlopenNotes',
  wants: (context) => librariesOf(context, () => true).flatMap((object) => wantsOf(object, context)),
};

function wantsOf({ place, chain }: ReturnType<typeof librariesOf>[number], context: RuleContext): Want[] {
  const notes = elfOf(place, chain)?.dlopenNotes ?? [];
  return notes.flatMap(sonamesOf).flatMap((sonames) => {
    const wants = sonames.map(
      (name): Want => ({
        as: 'library',
        name,
        loadedBy: place,
        chain: [...chain, name],
        rule: 'dlopenNotes',
        by: place.inside,
      }),
    );
    if (wants.length === 0) context.note(`a note of ${place.inside} about libraries that it loads cannot be read`);
    return wants;
  });
}

/** Of each feature the names that it may load; an empty list for what is not as the specification says. */
function sonamesOf(text: string): string[][] {
  try {
    const features: unknown = JSON.parse(text);
    if (!Array.isArray(features)) return [[]];
    return features.map((feature: unknown) => {
      const sonames = typeof feature === 'object' && feature !== null && 'soname' in feature ? feature.soname : [];
      return Array.isArray(sonames) ? sonames.filter((name) => typeof name === 'string' && name !== '') : [];
    });
  } catch {
    return [[]];
  }
}
