/**
 * Where the dynamic loader of glibc seeks a library, in its order: `_dl_map_object` in elf/dl-load.c.
 *
 *     1. DT_RPATH of the object that needs it, of the one that caused that to be loaded, and so on up to the executable;
 *        none of it where the object that needs the library has a DT_RUNPATH
 *     2. LD_LIBRARY_PATH
 *     3. DT_RUNPATH of the object that needs it
 *     4. /etc/ld.so.cache
 *     5. the default directories
 *
 * Below each directory, subdirectories for newer processors come first. Which of them a loader takes depends on the
 * machine that it runs on, and a sandbox moves: every variant that exists belongs to the sandbox, and the plain one too.
 *
 * Not followed: directories relative to the working directory, and the subdirectories that glibc 2.37 has given up
 * (`tls`, `haswell`, …).
 */
import { posix } from 'node:path';
import type { ElfMachine, ElfObject } from './elf.ts';
import type { LdCache } from './ld-cache.ts';

/** A file on the host and where it is in the sandbox; the same path, except where the configuration says otherwise. */
export type Place = { readonly host: string; readonly inside: string };

export type LoadedObject = {
  readonly place: Place;
  /** Directories that $ORIGIN stands for. */
  readonly origin: Place;
  readonly elf: ElfObject;
  /** The object that caused this one to be loaded; undefined for the executable. */
  readonly loader: LoadedObject | undefined;
  /** Names from the sandbox's to this object's, for messages. */
  readonly chain: readonly string[];
};

/** What is built into, or configured for, the loader of the host. */
export type LoaderFacts = {
  readonly cache: LdCache;
  readonly defaultDirectories: Readonly<Record<ElfMachine, readonly string[]>>;
  /** What $LIB stands for. */
  readonly lib: Readonly<Record<ElfMachine, string>>;
};

export type Candidate = { readonly place: Place; readonly variant: boolean };

/** Candidates of one step. All that exist are taken; the search ends after a step in which a plain one did. */
export type SearchStep = { readonly by: 'path' | 'cache' | 'default'; readonly candidates: readonly Candidate[] };

const HWCAPS: Readonly<Record<ElfMachine, readonly string[]>> = {
  'x86-64': ['x86-64-v4', 'x86-64-v3', 'x86-64-v2'].map((level) => `glibc-hwcaps/${level}`),
  i386: [],
};
/** AT_PLATFORM, and the names that glibc up to 2.36 puts in its place on some Intel processors. */
const PLATFORMS: Readonly<Record<ElfMachine, readonly string[]>> = {
  'x86-64': ['haswell', 'xeon_phi', 'x86_64'],
  i386: ['i686', 'i586', 'i486', 'i386'],
};
const STRING_TOKEN = /\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))/g;

/** @param libraryPath LD_LIBRARY_PATH of the process. */
export function* searchSteps(
  name: string,
  by: LoadedObject,
  facts: LoaderFacts,
  libraryPath: string,
): Generator<SearchStep> {
  if (name.includes('/')) {
    yield { by: 'path', candidates: expand(name, by, facts).map((place) => ({ place, variant: false })) };
    return;
  }
  const below = (directories: readonly Place[]): SearchStep => ({
    by: 'path',
    candidates: directories.flatMap((directory, index) => [
      ...HWCAPS[by.elf.machine].map((sub) => candidate(directory, `${sub}/${name}`, true)),
      // Of several platforms' directories only the last, the plainest, is there for every machine.
      candidate(directory, name, index < directories.length - 1),
    ]),
  });
  if (by.elf.runpath === undefined) {
    for (let object: LoadedObject | undefined = by; object !== undefined; object = object.loader) {
      for (const entry of pathEntries(object.elf.rpath, /:/)) yield below(expand(entry, object, facts));
    }
  }
  const executable = executableOf(by);
  for (const entry of pathEntries(libraryPath, /[:;]/)) yield below(expand(entry, executable, facts));
  for (const entry of pathEntries(by.elf.runpath, /:/)) yield below(expand(entry, by, facts));
  if (by.elf.noDefaultLibraries) return;
  yield {
    by: 'cache',
    candidates: facts.cache(by.elf.machine, name).map((path) => ({
      place: { host: path, inside: path },
      variant: path.includes('/glibc-hwcaps/'),
    })),
  };
  for (const directory of facts.defaultDirectories[by.elf.machine]) {
    yield { ...below([{ host: directory, inside: directory }]), by: 'default' };
  }
}

function executableOf(object: LoadedObject): LoadedObject {
  return object.loader === undefined ? object : executableOf(object.loader);
}

function pathEntries(text: string | undefined, separator: RegExp): string[] {
  return text === undefined || text === '' ? [] : text.split(separator);
}

function candidate(directory: Place, relative: string, variant: boolean): Candidate {
  return {
    place: { host: `${directory.host}/${relative}`, inside: `${directory.inside}/${relative}` },
    variant,
  };
}

/** A directory or path with $ORIGIN, $LIB and $PLATFORM replaced: one place for each platform; relative ones left out. */
export function expand(text: string, object: LoadedObject, facts: LoaderFacts): Place[] {
  const { machine } = object.elf;
  const replaced = (side: 'host' | 'inside', platform: string): string =>
    text.replaceAll(STRING_TOKEN, (_match, braced: string | undefined, plain: string | undefined) => {
      const token = braced ?? plain;
      if (token === 'ORIGIN') return object.origin[side];
      return token === 'LIB' ? facts.lib[machine] : platform;
    });
  const platforms = /\$\{?PLATFORM/.test(text) ? PLATFORMS[machine] : [''];
  return platforms
    .map((platform) => ({ host: replaced('host', platform), inside: replaced('inside', platform) }))
    .filter(({ host }) => host.startsWith('/'))
    .map((place) => (place.host === place.inside ? place : { ...place, inside: posix.normalize(place.inside) }));
}
