/**
 * Every file that a program for Node loads: its modules (ES and CommonJS), JSON, native addons, the manifests by which Node
 * finds them, and whole packages where a module looks for files by names that only it knows.
 *
 * A module is looked for as the sandbox will: first among the files that the configuration puts there, then beside the
 * source on the host; what is found there gets the place that is in the same relation to the module in the sandbox.
 */
import { lstatSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { ComicranError } from '../../base/errors.ts';
import { machineOf } from '../elf.ts';
import { type Chain, chainText, withFile } from '../host-files.ts';
import type { Place } from '../library-search.ts';
import { neighboursOf } from '../offset.ts';
import type { Want } from '../rules/rule.ts';
import { type Load, loadsOf } from './module-imports.ts';
import { filesOf, isFile, manifestsOf, packageRoot, platformPackages } from './packages.ts';
import { isNodeBuiltin, type Resolve } from './resolver.ts';

const RULE = 'nodeModules';
const CODE = /\.(?:[cm]?[jt]s|[jt]sx)$/;
const TYPED = /\.[cm]?ts$/;
const DECLARATIONS = /\.d\.[cm]?ts$/;
const MAX_MODULES = 50_000;
const MAX_MODULE_BYTES = 64 << 20;

export type GraphOptions = {
  /** Looks among the files of the configuration; paths are those of the sandbox. */
  readonly resolveInside: Resolve;
  /** Looks on the host. */
  readonly resolveOnHost: Resolve;
  /** A file of the configuration. @returns undefined for a path where it puts none. */
  readonly declared: (inside: string) => Place | undefined;
  readonly note: (text: string) => void;
};

export class ModuleGraph {
  readonly wants: Want[] = [];
  readonly #options: GraphOptions;
  readonly #seen = new Set<string>();
  readonly #packages = new Set<string>();
  readonly #pending: { readonly place: Place; readonly chain: Chain }[] = [];

  constructor(options: GraphOptions) {
    this.#options = options;
  }

  /** A module and all that it leads to. @param by the path in the sandbox of what names it. */
  add(place: Place, by: string, chain: Chain): void {
    this.#take(place, by, chain);
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop())
      this.#module(next.place, next.chain);
  }

  /** What a name of the command line leads to. @returns undefined where that is nothing. */
  find(load: Pick<Load, 'kind' | 'specifier'>, directory: Place): Place | undefined {
    const inside = this.#options.resolveInside(load, directory.inside);
    const declared = inside === undefined ? undefined : this.#options.declared(inside);
    if (declared !== undefined) return declared;
    const host = this.#options.resolveOnHost(load, directory.host);
    if (host === undefined || !isFile(host)) return undefined;
    return { host, inside: neighboursOf({ host: `${directory.host}/x`, inside: `${directory.inside}/x` })(host) };
  }

  /** Takes a file, and the links on the way to it; code is looked into. */
  #take(place: Place, by: string, chain: Chain, spare = false): void {
    if (this.#seen.has(place.inside)) return;
    this.#seen.add(place.inside);
    if (this.#seen.size > MAX_MODULES) {
      throw new ComicranError('config.bad-path', `more than ${MAX_MODULES} modules (${chainText(chain)})`, {
        hint: 'List the directory among the files, and switch dependencies.nodeModules off.',
      });
    }
    const origin = { chain, rule: RULE, by };
    const real = this.#followed(place, origin);
    if (real.inside !== place.inside && this.#seen.has(real.inside)) return;
    this.#seen.add(real.inside);
    const name = posix.basename(real.host);
    if (name.endsWith('.node') || /\.so(?:\.[0-9.]+)?$/.test(name)) {
      if (isForThisMachine(real.host, chain))
        this.wants.push({ as: 'object', place: real, ...(spare ? { spare } : {}), ...origin });
      return;
    }
    this.wants.push({ as: 'file', place: real, ...origin });
    const to = neighboursOf(real);
    for (const manifest of manifestsOf(real.host)) {
      const inside = to(manifest);
      if (!this.#shadowed(inside, real.inside))
        this.wants.push({ as: 'file', place: { host: manifest, inside }, chain, rule: RULE, by: real.inside });
    }
    if ((CODE.test(name) && !DECLARATIONS.test(name)) || posix.extname(name) === '')
      this.#pending.push({ place: real, chain });
  }

  /** A manifest of the configuration lies nearer to the module. */
  #shadowed(manifest: string, module: string): boolean {
    for (let directory = posix.dirname(module); directory.length > posix.dirname(manifest).length; ) {
      if (this.#options.declared(posix.join(directory, 'package.json')) !== undefined) return true;
      directory = posix.dirname(directory);
    }
    return false;
  }

  /** Node goes on from where the links lead: they come along, for what keeps its place by themselves. */
  #followed(place: Place, origin: { readonly chain: Chain; readonly rule: string; readonly by: string }): Place {
    const real = realpathSync(place.host);
    if (real === place.host || this.#options.declared(place.inside) !== undefined) return place;
    if (place.host === place.inside) {
      this.wants.push({ as: 'file', place, ...origin });
      return { host: real, inside: real };
    }
    const to = neighboursOf(place);
    for (const link of linksTo(place.host)) {
      const target = posix.resolve(posix.dirname(link), readlinkSync(link));
      const relative = posix.relative(posix.dirname(to(link)), to(target));
      if (!this.#seen.has(to(link))) this.wants.push({ as: 'link', path: to(link), target: relative, ...origin });
      this.#seen.add(to(link));
    }
    return { host: real, inside: to(real) };
  }

  #module(place: Place, chain: Chain): void {
    if (statSync(place.host).size > MAX_MODULE_BYTES) return;
    const found = loadsOf(readFileSync(place.host, 'utf8'), TYPED.test(place.host));
    if (found === undefined) {
      if (CODE.test(place.host) && packageRoot(place.host) === undefined)
        this.#options.note(`${place.inside} is not JavaScript that can be read; what it imports is not looked for`);
      return;
    }
    for (const load of found.loads) this.#load(load, place, chain);
    const root = packageRoot(place.host);
    if (root !== undefined) this.#package(root, place, chain, found.computed);
    else if (found.computed) {
      this.#options.note(
        `${place.inside} loads by computed names, or looks for files beside it: 'configer trace' shows which`,
      );
    }
  }

  #load(load: Load, place: Place, chain: Chain): void {
    if (load.kind !== 'url' && isNodeBuiltin(load.specifier)) return;
    if (load.kind === 'url' && load.specifier.endsWith('/')) return;
    if (/^(?:data|https?):/.test(load.specifier)) return;
    const specifier = load.specifier.startsWith('file://') ? decodeURI(load.specifier.slice(7)) : load.specifier;
    const directory = { host: posix.dirname(place.host), inside: posix.dirname(place.inside) };
    const found = this.#findFrom({ ...load, specifier }, directory, place);
    const next = [...chain, load.specifier];
    if (found !== undefined) this.#take(found, place.inside, next);
    else if (load.certain) {
      throw new ComicranError(
        'config.missing-file',
        `the module ${load.specifier}, which ${place.inside} imports, was not found (${chainText(next)})`,
        { hint: 'Install it (npm ci), or switch dependencies.nodeModules off and list its files.' },
      );
    } else if (load.kind !== 'url' && packageRoot(place.host) === undefined) {
      // What a package does without is its own business: most try one name after another.
      this.#options.note(`${load.specifier}, which ${place.inside} may load, was not found`);
    }
  }

  #findFrom(load: Load, directory: Place, place: Place): Place | undefined {
    const inside = this.#options.resolveInside(load, directory.inside);
    const declared = inside === undefined ? undefined : this.#options.declared(inside);
    if (declared !== undefined) return declared;
    const host = this.#options.resolveOnHost(load, directory.host);
    return host === undefined || !isFile(host) ? undefined : { host, inside: neighboursOf(place)(host) };
  }

  /** @param whole whether one of its modules looks for files that no text names. */
  #package(root: string, by: Place, chain: Chain, whole: boolean): void {
    const to = neighboursOf(by);
    const take = (directory: string): void => {
      if (this.#packages.has(directory)) return;
      this.#packages.add(directory);
      for (const host of filesOf(directory)) this.#take({ host, inside: to(host) }, by.inside, [...chain, host], true);
    };
    if (whole) take(root);
    for (const directory of platformPackages(root)) take(directory);
  }
}

/** The symbolic links on the way to a path, and those that they lead through. */
function linksTo(path: string): string[] {
  const links: string[] = [];
  let at = '';
  for (const name of path.split('/').filter((part) => part !== '')) {
    at = `${at}/${name}`;
    if (!lstatSync(at).isSymbolicLink()) continue;
    links.push(at);
    at = realpathSync(at);
  }
  return links;
}

/** Packages carry addons for all kinds of machines. */
function isForThisMachine(path: string, chain: Chain): boolean {
  return withFile(path, chain, (readAt) => machineOf(readAt(0, 20)) === 'x86-64');
}
