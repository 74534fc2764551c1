/**
 * The modules of a program for Python: what the script imports of its own, of the standard library (with the libraries that
 * extensions in C need), and of installed packages, which come whole.
 */
import { join, posix } from 'node:path';
import { ComicranError } from '../../base/errors.ts';
import type { Place } from '../library-search.ts';
import { filesOf, isFile } from '../node/packages.ts';
import { neighboursOf } from '../offset.ts';
import { parsePythonCommand } from '../python/command-line.ts';
import { type PythonModules, pythonModulesOf } from '../python/modules.ts';
import { inPlace, type Rule, type RuleContext, type Want } from './rule.ts';
import { type Run, runsOf } from './runs.ts';

const RULE = 'pythonModules';
const isPython = (name: string): boolean => /^python(?:3(?:\.\d+)?)?$/.test(name);
/** Written beside a module when it is first imported, if that is possible; holds nothing that the module does not. */
const BYTECODE = /\/__pycache__\//;

export const pythonModules: Rule = {
  name: RULE,
  wants: (context) => runsOf(context, isPython).flatMap((run) => modulesOf(run, context)),
};

function modulesOf(run: Run, context: RuleContext): Want[] {
  const { base, declared, note, share } = context;
  const command = parsePythonCommand(run.words);
  if (command.kind === 'none') return [];
  const { environment, workingDirectory } = base.process;
  const by = run.interpreter.inside;
  const chain = [...run.chain, command.kind === 'script' ? command.what : `${command.kind}`];
  const script =
    command.kind === 'script' ? scriptPlace(posix.resolve(workingDirectory, command.what), context) : undefined;
  if (command.kind === 'script' && script === undefined) {
    throw new ComicranError(
      'config.missing-file',
      `the script ${command.what} of ${by} was not found (${chain.join(' -> ')})`,
      { hint: 'Put it in the sandbox with files, or switch dependencies.pythonModules off if it is made later.' },
    );
  }
  const first = script === undefined ? workingDirectory : posix.dirname(script.inside);
  const inside = [first, ...(environment['PYTHONPATH'] ?? '').split(':').filter((path) => path.startsWith('/'))];
  const path = inside.map((directory) => ({ inside: directory, host: declared.directory(directory) ?? directory }));
  if (script !== undefined) path[0] = { inside: first, host: posix.dirname(script.host) };
  const modules = pythonModulesOf(
    run.interpreter.host,
    join(share, 'python/modules.py'),
    {
      path: path.map(({ host }) => host),
      script: script?.host ?? null,
      code: command.kind === 'code' ? command.what : null,
      module: command.kind === 'module' ? command.what : null,
    },
    chain,
  );
  const [needed] = modules.needed;
  if (needed !== undefined) {
    throw new ComicranError(
      'config.missing-file',
      `the module ${needed}, which ${chain.at(-1)} imports, was not found (${[...chain, needed].join(' -> ')})`,
      { hint: 'Install it, or switch dependencies.pythonModules off and list its files.' },
    );
  }
  for (const [name, importer] of modules.missing) note(`${name}, which ${importer} may import, was not found`);
  return wantsOf(modules, placer(path, run.interpreter, script), chain, by, script);
}

function scriptPlace(inside: string, { declared }: RuleContext): Place | undefined {
  const file = declared.find(inside);
  if (file !== undefined) return file;
  const directory = declared.directory(inside) ?? inside;
  return isFile(posix.join(directory, '__main__.py')) ? { host: directory, inside } : undefined;
}

/** Where a file of the host goes: with the script, with a directory of PYTHONPATH, or with the interpreter. */
function placer(path: readonly Place[], interpreter: Place, script: Place | undefined): (host: string) => Place {
  const homes = [...path, ...(script === undefined ? [] : [script])].filter(({ host, inside }) => host !== inside);
  const withInterpreter = neighboursOf(interpreter);
  return (host) => {
    const home = homes.find((one) => host.startsWith(`${one.host}/`) || host === one.host);
    if (home !== undefined) return { host, inside: posix.join(home.inside, posix.relative(home.host, host)) };
    return { host, inside: withInterpreter(host) };
  };
}

function wantsOf(
  modules: PythonModules,
  placeOf: (host: string) => Place,
  chain: readonly string[],
  interpreter: string,
  script: Place | undefined,
): Want[] {
  const want = (place: Place, name: string, importer: string | null): Want => ({
    as: /\.so(?:\.[0-9.]+)?$/.test(place.host) ? 'object' : 'file',
    place,
    chain: [...chain, name],
    rule: RULE,
    by: importer === null ? (script?.inside ?? interpreter) : placeOf(importer).inside,
  });
  return [
    ...(script === undefined || !isFile(script.host) ? [] : [want(script, script.inside, interpreter)]),
    ...modules.landmarks.map((file) => want(file.endsWith('.cfg') ? inPlace(file) : placeOf(file), file, null)),
    ...modules.files.map(([name, file, importer]) => want(placeOf(file!), name!, importer ?? null)),
    ...modules.packages.flatMap(([directory, importer]) =>
      filesOf(directory!)
        .filter((file) => !BYTECODE.test(file))
        .map((file) => want(placeOf(file), file, importer ?? null)),
    ),
  ];
}
