import { globSync } from 'node:fs';
import { join } from 'node:path';
import { moduleName } from './kernel-modules.ts';

/** The files of a kernel's modules by their names. @param directory `/lib/modules/<release>` */
export function moduleFiles(directory: string): ReadonlyMap<string, string> {
  const found = globSync('kernel/**/*.ko', { cwd: directory });
  return new Map(found.map((file) => [moduleName(file), join(directory, file)]));
}
