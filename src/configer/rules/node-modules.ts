/** The modules of a program for Node: of the script of the root process, and of scripts among the executables. */
import { posix } from 'node:path';
import { ComicranError } from '../../base/errors.ts';
import { isWithin } from '../../base/sandbox-tree.ts';
import type { Place } from '../library-search.ts';
import { parseNodeCommand } from '../node/command-line.ts';
import type { Rule, RuleContext, Want } from './rule.ts';
import { type Run, runsOf } from './runs.ts';

const isNode = (name: string): boolean => /^node(?:js)?(?:-?\d+)?$/.test(name);

export const nodeModules: Rule = {
  name: 'nodeModules',
  async wants(context) {
    const wants: Want[] = [];
    for (const run of runsOf(context, isNode)) wants.push(...(await modulesOf(run, context)));
    return wants;
  },
};

async function modulesOf(run: Run, context: RuleContext): Promise<readonly Want[]> {
  const { base, declared, note } = context;
  const command = parseNodeCommand(run.words, base.process.environment['NODE_OPTIONS']);
  const [{ ModuleGraph }, { nodeResolver }, fs] = await Promise.all([
    import('../node/module-graph.ts'),
    import('../node/resolver.ts'),
    import('node:fs'),
  ]);
  const own = (inside: string): Place | undefined => declared.find(inside, '/nonexistent');
  const graph = new ModuleGraph({
    resolveInside: await nodeResolver(declared.fileSystem(), command.conditions),
    resolveOnHost: await nodeResolver(fs, command.conditions),
    declared: (inside) => (declared.has(inside) ? own(inside) : undefined),
    note,
  });
  const directory = { host: base.process.workingDirectory, inside: base.process.workingDirectory };
  const by = run.interpreter.inside;
  const start = (kind: 'import' | 'require', specifier: string, what: string): void => {
    const found = graph.find({ kind, specifier }, directory);
    if (found !== undefined) graph.add(found, by, [...run.chain, specifier]);
    else if (!isLater(posix.resolve(directory.inside, specifier), context)) {
      throw new ComicranError(
        'config.missing-file',
        `the ${what} ${specifier} of ${by} was not found (${[...run.chain, specifier].join(' -> ')})`,
        { hint: 'Put it in the sandbox with files, or switch dependencies.nodeModules off if it is made later.' },
      );
    }
  };
  if (command.script !== undefined) start('require', posix.resolve(directory.inside, command.script), 'script');
  for (const name of command.required) start('require', name, 'module');
  for (const name of command.imported) start('import', name, 'module');
  for (const name of command.envFiles) {
    const inside = posix.resolve(directory.inside, name);
    const place = declared.find(inside);
    if (place !== undefined)
      graph.wants.push({ as: 'file', place, chain: [...run.chain, inside], rule: 'nodeModules', by });
  }
  return graph.wants;
}

/** What is written or mounted there when the sandbox runs cannot be there now. */
function isLater(path: string, { base }: RuleContext): boolean {
  return [...base.writable, ...(base.mounts ?? []).map((mount) => mount.path)].some((top) => isWithin(path, top));
}
