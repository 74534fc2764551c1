/**
 * A rule finds files that no ELF header and no first line of a script names: modules, plugins, data that libraries open.
 * Each has its name, a key of `dependencies` that switches it, and stands as `why` at each file that it brings.
 */
import type { BaseConfig, DependencyName } from '../base-config.ts';
import type { Closure, Found } from '../closure.ts';
import type { Declared } from '../declared.ts';
import type { Origin } from '../host-files.ts';
import type { LoaderFacts, Place } from '../library-search.ts';

/** `file`: as it is; `directory`: all that is in it; `object`: a library or program, with all that it needs. */
export type Want = Origin &
  (
    | { readonly as: 'file' | 'directory'; readonly place: Place }
    /** `spare`: one of several for different machines, left out with a note where this one lacks what it needs. */
    | { readonly as: 'object'; readonly place: Place; readonly spare?: boolean }
    /** A symbolic link that is not on the host where it is in the sandbox. */
    | { readonly as: 'link'; readonly path: string; readonly target: string }
    /** A library that an object loads by its name; no failure where there is none. */
    | { readonly as: 'library'; readonly name: string; readonly loadedBy: Place }
  );

export type RuleContext = {
  readonly base: BaseConfig;
  readonly declared: Declared;
  readonly facts: LoaderFacts;
  /** The root process, then the `executables`. */
  readonly programs: readonly Closure[];
  /** Everything that programs, libraries and earlier rules have brought. */
  readonly found: readonly Found[];
  /** Directory of the files that configer brings along. */
  readonly share: string;
  /** For what cannot be seen from outside and is no failure: a sentence without a full stop. */
  readonly note: (text: string) => void;
};

export type Rule = {
  readonly name: DependencyName;
  /** May be asked again when more has been found. @throws ComicranError for what is named and is not there. */
  readonly wants: (context: RuleContext) => readonly Want[] | Promise<readonly Want[]>;
};

/** A place of the host that keeps its path in the sandbox. */
export function inPlace(path: string): Place {
  return { host: path, inside: path };
}
