/** Which kernel modules must be loaded, and in what order. A module says itself what it needs (modinfo(8)). */
import { ComicranError } from '../base/errors.ts';

/** What stands in a module's section .modinfo: `depends=virtio_ring,virtio`, ended by a zero byte. */
const DEPENDS = Buffer.from('\0depends=', 'latin1');

/** In file names - and _ are the same; here it is _ alone. */
export const moduleName = (text: string): string => text.replace(/^.*\//, '').replace(/\.ko$/, '').replaceAll('-', '_');

/** The modules that a module's file names as needed. */
export function dependenciesOf(file: Buffer): string[] {
  const at = file.indexOf(DEPENDS);
  if (at === -1) return [];
  const start = at + DEPENDS.length;
  const text = file.toString('latin1', start, file.indexOf(0, start));
  return text === '' ? [] : text.split(',').map(moduleName);
}

/**
 * The modules with all that they need, each behind what it needs.
 *
 * @param needsOf what a module needs; undefined where there is no such module. One that is part of the kernel itself has no
 * file and is named by no module.
 * @throws ComicranError needs.kernel that names a module that is not there, and who needs it.
 */
export function loadingOrder(
  wanted: readonly string[],
  needsOf: (name: string) => readonly string[] | undefined,
): readonly string[] {
  const ordered = new Set<string>();
  const load = (name: string, neededBy: readonly string[]): void => {
    if (ordered.has(name)) return;
    const line = [...neededBy, name];
    const needs = neededBy.includes(name) ? undefined : needsOf(name);
    if (needs === undefined)
      throw new ComicranError('needs.kernel', `the kernel has no module ${name} (${line.join(' -> ')})`);
    for (const need of needs) load(need, line);
    ordered.add(name);
  };
  for (const name of wanted) load(moduleName(name), []);
  return [...ordered];
}
