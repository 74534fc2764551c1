/** Node's resolution of names to files: relative paths, packages with `exports` and `imports`, conditions, directories. */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import type { Load } from './module-imports.ts';

/** @returns the path, links not followed; undefined where there is nothing. */
export type Resolve = (load: Pick<Load, 'kind' | 'specifier'>, directory: string) => string | undefined;

/** What Node itself sets, besides `import` or `require` (node_modules/docs: api/packages, "Conditional exports"). */
const CONDITIONS = ['node', 'node-addons', 'module-sync'];

export function isNodeBuiltin(specifier: string): boolean {
  return specifier.startsWith('node:') || isBuiltin(specifier);
}

/**
 * @param files where modules are looked for: a part of `node:fs`.
 * @param conditions of the command line.
 */
export async function nodeResolver(files: unknown, conditions: readonly string[]): Promise<Resolve> {
  const { default: resolving } = await import('enhanced-resolve');
  const make = (kind: 'import' | 'require', strict: boolean) =>
    resolving.ResolverFactory.createResolver({
      fileSystem: new resolving.CachedInputFileSystem(files as never, 4000),
      useSyncFileSystemCalls: true,
      conditionNames: [...CONDITIONS, kind, ...conditions],
      extensions: strict ? [] : ['.js', '.json', '.node'],
      fullySpecified: strict,
      mainFields: ['main'],
      symlinks: false,
    });
  // A package without `exports` is found by the old ways from an ES module, too.
  const [strict, loose, required] = [make('import', true), make('import', false), make('require', false)];
  const attempt = (resolver: typeof strict, specifier: string, directory: string): string | undefined => {
    try {
      const found = resolver.resolveSync({}, directory, specifier);
      return found === false ? undefined : found.replace(/[?#].*$/, '');
    } catch {
      return undefined;
    }
  };
  return ({ kind, specifier }, directory) => {
    if (kind === 'url') return /^[a-z]+:/.test(specifier) ? undefined : posix.resolve(directory, specifier);
    if (kind === 'require') return attempt(required, specifier, directory);
    const found = attempt(strict, specifier, directory);
    return found ?? (/^[./]/.test(specifier) ? undefined : attempt(loose, specifier, directory));
  };
}
