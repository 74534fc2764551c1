/** Everything that the kernel and the dynamic loader open to start a program: libraries, loader, interpreters. */
import { posix } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import type { Declared } from './declared.ts';
import { type ElfObject, isElf, machineOf, parseElf } from './elf.ts';
import { type Chain, chainText, type Origin, realPath, withFile } from './host-files.ts';
import { type Candidate, type LoadedObject, type LoaderFacts, type Place, searchSteps } from './library-search.ts';
import { parseScriptStart, programOfEnv, SCRIPT_START_BYTES, type ScriptStart } from './script.ts';

/** A file that belongs to the sandbox, with what led to it. */
export type Found = Origin & { readonly place: Place };

export type Closure = {
  /** In the order in which they were found; the program itself is the first. */
  readonly found: readonly Found[];
  /** True if a library was found by the cache alone, which the sandbox then needs too. */
  readonly needsCache: boolean;
};

export type ClosureContext = {
  readonly declared: Declared;
  readonly facts: LoaderFacts;
  /** Of the process: PATH, LD_LIBRARY_PATH and LD_PRELOAD matter. */
  readonly environment: Readonly<Record<string, string>>;
};

/** A script's interpreter may be a script, and so on; the kernel gives up after this many (exec_binprm in fs/exec.c). */
const MAX_INTERPRETERS = 5;
/** What a program sees as PATH if its environment has none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const LOADER_HINT = 'Install the package that it belongs to, or add the library to the files of the configuration.';

type LibraryNeed = {
  readonly name: string;
  readonly by: LoadedObject;
  readonly chain: Chain;
  /** What made it needed, if not the header of `by`. */
  readonly rule?: string;
};

/**
 * @param program an executable, script or shared object.
 * @param origin its chain ends with the program.
 * @throws ComicranError that names the thing, the chain that led there, and the next step.
 */
export function closureOf(program: Place, origin: Origin, context: ClosureContext): Closure {
  const search = new ClosureSearch(context);
  search.program(program, origin, 0);
  return { found: search.found, needsCache: search.needsCache };
}

/**
 * What a library brings that an object loads by name while it runs.
 *
 * @param by the object that loads it: its search path counts.
 * @param origin its chain ends with the library's name.
 * @returns undefined where there is none of that name.
 */
export function closureOfLoaded(name: string, by: Place, origin: Origin, context: ClosureContext): Closure | undefined {
  const search = new ClosureSearch(context);
  return search.loaded(name, by, origin) ? { found: search.found, needsCache: search.needsCache } : undefined;
}

class ClosureSearch {
  readonly found: Found[] = [];
  needsCache = false;
  readonly #context: ClosureContext;

  constructor(context: ClosureContext) {
    this.#context = context;
  }

  program(place: Place, origin: Origin, depth: number): void {
    const { chain } = origin;
    this.found.push({ place, ...origin });
    const content = withFile(place.host, chain, (readAt): ElfObject | ScriptStart => {
      const start = readAt(0, SCRIPT_START_BYTES);
      if (isElf(start)) return parseElf(readAt, this.#name(place.host, chain));
      const script = parseScriptStart(start);
      if (script !== undefined) return script;
      const problem = start.length === 0 ? 'is empty' : 'is neither an ELF file nor a script that begins with #!';
      throw new ComicranError('elf.invalid', `${this.#name(place.host, chain)} cannot be executed: it ${problem}`, {
        hint: 'Name a program; what a program only reads belongs to the files.',
      });
    });
    if ('interpreter' in content && 'argument' in content) this.#script(place, content, chain, depth);
    else this.#executable(place, content, chain);
  }

  loaded(name: string, by: Place, origin: Origin): boolean {
    const { chain } = origin;
    const elf = withFile(by.host, chain, (readAt) => parseElf(readAt, this.#name(by.host, chain)));
    const object: LoadedObject = { place: by, origin: originOfExecutable(by, chain), elf, loader: undefined, chain };
    const steps = searchSteps(name, object, this.#context.facts, this.#environment('LD_LIBRARY_PATH'));
    const exists = [...steps].some(({ candidates }) =>
      candidates.some(({ place }) => this.#context.declared.find(place.inside, place.host) !== undefined),
    );
    if (exists) this.#libraries([{ name, by: object, chain, rule: origin.rule }], new Set());
    return exists;
  }

  #name(path: string, chain: Chain): string {
    return `${path} (${chainText(chain)})`;
  }

  #script(place: Place, { interpreter, argument }: ScriptStart, chain: Chain, depth: number): void {
    const script = chain.at(-1)!;
    if (depth >= MAX_INTERPRETERS) {
      throw new ComicranError('elf.invalid', `${script} is a script of a script, ${depth} deep (${chainText(chain)})`, {
        hint: `The kernel follows ${MAX_INTERPRETERS} interpreters; let #! name a program.`,
      });
    }
    const by = place.inside;
    this.#interpreter(interpreter, chain, by, depth);
    if (posix.basename(interpreter) !== 'env') return;
    const program = programOfEnv(argument);
    if (program === undefined) return;
    if (program.includes('/')) this.#interpreter(program, chain, by, depth);
    else this.#programOnPath(program, chain, by, depth);
  }

  #interpreter(path: string, chain: Chain, by: string, depth: number): void {
    const next = [...chain, path.replaceAll('\r', '\\r')];
    const place = path.startsWith('/') ? this.#context.declared.find(path) : undefined;
    if (place === undefined) {
      const returned = path.endsWith('\r') ? ' The script has Windows line endings: convert it.' : '';
      const relative = path.startsWith('/') ? '' : ' (not an absolute path)';
      throw new ComicranError(
        'config.missing-file',
        `the interpreter '${next.at(-1)}'${relative} of ${chain.at(-1)} does not exist (${chainText(next)})`,
        { hint: `Install it, or correct the first line of the script.${returned}` },
      );
    }
    this.program(place, { chain: next, rule: 'interpreter', by }, depth + 1);
  }

  #programOnPath(name: string, chain: Chain, by: string, depth: number): void {
    const path = this.#context.environment['PATH'] ?? DEFAULT_PATH;
    for (const directory of path.split(':').filter((entry) => entry.startsWith('/'))) {
      const place = this.#context.declared.find(posix.join(directory, name));
      if (place === undefined) continue;
      this.program(place, { chain: [...chain, place.inside], rule: 'interpreter', by }, depth + 1);
      return;
    }
    throw new ComicranError(
      'config.missing-file',
      `'${name}', which env starts for ${chain.at(-1)}, is in no directory of ${path} (${chainText([...chain, name])})`,
      { hint: 'Install it, or set PATH in the environment of the process.' },
    );
  }

  /** Loads breadth first as the loader does: what a name has found once serves everybody who needs that name. */
  #executable(place: Place, elf: ElfObject, chain: Chain): void {
    const loaded = new Set<string>();
    if (elf.interpreter !== undefined) this.#dynamicLoader(elf.interpreter, place, chain, loaded);
    const executable: LoadedObject = { place, origin: originOfExecutable(place, chain), elf, loader: undefined, chain };
    // The preloaded ones come first; slashes and separators as in elf/rtld.c.
    const preload = (this.#context.environment['LD_PRELOAD'] ?? '').split(/[ :]/).filter((name) => name !== '');
    const dynamic = elf.interpreter !== undefined;
    const queue: LibraryNeed[] = [...(dynamic ? preload : []), ...elf.needed].map((name) => ({
      name,
      by: executable,
      chain: [...chain, name],
    }));
    this.#libraries(queue, loaded);
  }

  #libraries(queue: LibraryNeed[], loaded: Set<string>): void {
    for (let need = queue.shift(); need !== undefined; need = queue.shift()) {
      if (loaded.has(need.name)) continue;
      loaded.add(need.name);
      for (const object of this.#library(need)) {
        if (object.elf.soname !== undefined) loaded.add(object.elf.soname);
        for (const name of object.elf.needed) queue.push({ name, by: object, chain: [...object.chain, name] });
      }
    }
  }

  #dynamicLoader(path: string, by: Place, chain: Chain, loaded: Set<string>): void {
    const next = [...chain, path];
    const place = this.#context.declared.find(path);
    if (place === undefined) {
      throw new ComicranError('config.missing-file', `the dynamic loader ${path} does not exist (${chainText(next)})`, {
        hint: 'Install the C library for this kind of program (Debian: libc6, for i386 libc6:i386).',
      });
    }
    this.found.push({ place, chain: next, rule: 'loader', by: by.inside });
    const elf = withFile(place.host, next, (readAt) => parseElf(readAt, this.#name(place.host, next)));
    if (elf.soname !== undefined) loaded.add(elf.soname);
  }

  /** The objects that a name may lead to, depending on the processor; the plain one is among them. */
  #library(need: LibraryNeed): LoadedObject[] {
    const objects: LoadedObject[] = [];
    const refused: string[] = [];
    for (const step of searchSteps(need.name, need.by, this.#context.facts, this.#environment('LD_LIBRARY_PATH'))) {
      let plain = false;
      for (const candidate of step.candidates) {
        const object = this.#load(candidate, need, refused);
        if (object === undefined) continue;
        objects.push(object);
        plain ||= !candidate.variant;
        if (step.by === 'cache' && !this.#isDefault(object)) this.needsCache = true;
        if (plain) break;
      }
      if (plain) return objects;
    }
    if (objects.length > 0) return objects;
    const why = refused.length === 0 ? '' : `; ${refused.join(', ')}`;
    throw new ComicranError(
      'elf.missing-library',
      `the library ${need.name} of ${need.by.place.inside} was not found (${chainText(need.chain)})${why}`,
      { hint: LOADER_HINT },
    );
  }

  #environment(name: string): string {
    return this.#context.environment[name] ?? '';
  }

  #isDefault({ place, elf }: LoadedObject): boolean {
    const directories = this.#context.facts.defaultDirectories[elf.machine];
    return directories.includes(posix.dirname(place.inside).replace(/\/glibc-hwcaps\/.*/, ''));
  }

  #load({ place: wanted }: Candidate, need: LibraryNeed, refused: string[]): LoadedObject | undefined {
    const place = this.#context.declared.find(wanted.inside, wanted.host);
    if (place === undefined) return undefined;
    const { machine } = need.by.elf;
    const elf = withFile(place.host, need.chain, (readAt) => {
      const start = readAt(0, 20);
      // As the loader does: an object for another kind of machine is passed over, any other flaw is the end.
      if (isElf(start) && machineOf(start) !== machine) return undefined;
      return parseElf(readAt, this.#name(place.host, need.chain));
    });
    if (elf === undefined) {
      refused.push(`${place.host} is not for ${machine}`);
      return undefined;
    }
    this.found.push({ place, chain: need.chain, rule: need.rule ?? 'library', by: need.by.place.inside });
    const origin = { host: posix.dirname(place.host), inside: posix.dirname(place.inside) };
    return { place, origin, elf, loader: need.by, chain: need.chain };
  }
}

/** The kernel gives the loader the executable's path with every link followed; that of a library stays as it was found. */
function originOfExecutable(place: Place, chain: Chain): Place {
  const real = realPath(place.host, chain);
  return { host: posix.dirname(real), inside: posix.dirname(place.host === place.inside ? real : place.inside) };
}
