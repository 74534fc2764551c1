/**
 * Libraries whose names stand as text in an object that can load by name. A guess: it brings what is only mentioned too, and
 * misses names that are put together. `comicran configer trace` sees what is really loaded.
 */

import { closeSync, fstatSync, readSync } from 'node:fs';
import { openFile } from '../host-files.ts';
import { elfOf, librariesOf } from './libraries.ts';
import type { Rule, Want } from './rule.ts';

const LOADERS = ['dlopen', 'dlmopen'];
/** `libfoo.so.1`, as a string of its own: what is before and behind it is a NUL. */
const SONAME = /\0(lib[A-Za-z0-9_+.-]{1,80}\.so(?:\.[0-9.]{1,12})?)(?=\0)/g;
const CHUNK_BYTES = 8 << 20;
/** More than the longest name, so that none is lost between two chunks. */
const OVERLAP_BYTES = 128;

export const namedLibraries: Rule = {
  name: 'namedLibraries',
  wants: (context) =>
    librariesOf(context, () => true).flatMap(({ place, chain }): Want[] => {
      const elf = elfOf(place, chain);
      if (elf === undefined || !LOADERS.some((name) => elf.mentions(name))) return [];
      const needed = new Set(elf.needed);
      return [...namesIn(place.host, chain)]
        .filter((name) => name !== elf.soname && !needed.has(name))
        .map((name) => ({
          as: 'library',
          name,
          loadedBy: place,
          chain: [...chain, name],
          rule: 'namedLibraries',
          by: place.inside,
        }));
    }),
};

function namesIn(path: string, chain: readonly string[]): Set<string> {
  const names = new Set<string>();
  const descriptor = openFile(path, chain);
  try {
    const { size } = fstatSync(descriptor);
    const chunk = Buffer.alloc(Math.min(size, CHUNK_BYTES));
    for (let at = 0; at < size; at += CHUNK_BYTES - OVERLAP_BYTES) {
      const count = readSync(descriptor, chunk, 0, chunk.length, at);
      for (const [, name] of chunk.toString('latin1', 0, count).matchAll(SONAME)) names.add(name!);
    }
  } finally {
    closeSync(descriptor);
  }
  return names;
}
