/** The shared libraries among what was found, for rules that go by them. */
import { posix } from 'node:path';
import { type ElfObject, isElf, parseElf } from '../elf.ts';
import { type Chain, realPath, withFile } from '../host-files.ts';
import type { Place } from '../library-search.ts';
import type { RuleContext } from './rule.ts';

export type Library = { readonly place: Place; readonly chain: Chain; readonly name: string };

/** Each library once, by the name of the file that links lead to: `libssl.so.3`. */
export function librariesOf({ found }: RuleContext, matches: (name: string) => boolean): Library[] {
  const byHost = new Map<string, Library>();
  for (const { place, chain } of found) {
    const name = posix.basename(place.inside);
    if (matches(name) && !byHost.has(place.host)) byHost.set(place.host, { place, chain, name });
  }
  return [...byHost.values()];
}

/** What is found of a library's own directory, both on the host and inside. */
export function beside({ place }: { readonly place: Place }, relative: string): Place {
  const real = realPath(place.host, [place.host]);
  return {
    host: posix.join(posix.dirname(real), relative),
    inside: posix.join(posix.dirname(place.inside), relative),
  };
}

/** Undefined for what is no ELF object, such as a script. */
export function elfOf(place: Place, chain: Chain): ElfObject | undefined {
  return withFile(place.host, chain, (readAt) => (isElf(readAt(0, 20)) ? parseElf(readAt, place.host) : undefined));
}
