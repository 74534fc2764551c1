/** The locales that the environment of the process names (locale(7)), as files of the machine. */
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { ComicranError } from '../../base/errors.ts';
import { inPlace, type Rule, type Want } from './rule.ts';

const DIRECTORY = '/usr/lib/locale';
const ARCHIVE = `${DIRECTORY}/locale-archive`;
/** Built into the C library. */
const BUILT_IN = ['C', 'POSIX', ''];

export const locale: Rule = {
  name: 'locale',
  wants({ base }) {
    const names = Object.entries(base.process.environment)
      .filter(([name, value]) => (name === 'LANG' || name.startsWith('LC_')) && !BUILT_IN.includes(value))
      .toSorted();
    return names.flatMap(([variable, value]) => localeFiles(variable, value, base.id));
  },
};

function localeFiles(variable: string, value: string, id: string): Want[] {
  const chain = [id, `${variable}=${value}`];
  const origin = { chain, rule: 'locale', by: `process.environment.${variable}` };
  const name = value.split('@')[0]!;
  const own = [value, normalised(value), name, normalised(name)]
    .map((one) => posix.join(DIRECTORY, one))
    .find((path) => /^\/usr\/lib\/locale\/[^/]+$/.test(path) && existsSync(path));
  if (own !== undefined) return [{ as: 'directory', place: inPlace(own), ...origin }];
  // Debian packs all that locale-gen makes into one file.
  if (existsSync(ARCHIVE)) return [{ as: 'file', place: inPlace(ARCHIVE), ...origin }];
  throw new ComicranError('config.missing-file', `the locale ${value} does not exist (${chain.join(' -> ')})`, {
    hint: 'Make it with locale-gen, name C.UTF-8, or switch dependencies.locale off.',
  });
}

/** As the C library looks for it: `en_US.UTF-8` as `en_US.utf8` (_nl_normalize_codeset). */
function normalised(value: string): string {
  return value.replace(/\.([^.@]*)/, (_match, set: string) => `.${set.toLowerCase().replaceAll(/[^a-z0-9]/g, '')}`);
}
