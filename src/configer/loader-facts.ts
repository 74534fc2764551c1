import { existsSync, readFileSync } from 'node:fs';
import type { ElfMachine } from './elf.ts';
import { emptyLdCache, type LdCache, parseLdCache } from './ld-cache.ts';
import type { LoaderFacts } from './library-search.ts';

export const LD_CACHE_FILE = '/etc/ld.so.cache';
const MULTIARCH: Readonly<Record<ElfMachine, string>> = { 'x86-64': 'x86_64-linux-gnu', i386: 'i386-linux-gnu' };

/** What is built into the dynamic loader of this machine: `ld.so --list-diagnostics` prints it (path.system_dirs). */
export function hostLoaderFacts(): LoaderFacts {
  return {
    cache: readCache(),
    defaultDirectories: { 'x86-64': defaultDirectories('x86-64'), i386: defaultDirectories('i386') },
    lib: { 'x86-64': libDirectory('x86-64', 'lib64'), i386: libDirectory('i386', 'lib') },
  };
}

function readCache(): LdCache {
  try {
    return parseLdCache(readFileSync(LD_CACHE_FILE));
  } catch {
    return emptyLdCache(); // without one the loader goes on to the default directories
  }
}

/** Debian and its derivatives; others have lib64. */
function hasMultiarch(machine: ElfMachine): boolean {
  return existsSync(`/usr/lib/${MULTIARCH[machine]}`);
}

function libDirectory(machine: ElfMachine, elsewhere: string): string {
  return hasMultiarch(machine) ? `lib/${MULTIARCH[machine]}` : elsewhere;
}

function defaultDirectories(machine: ElfMachine): string[] {
  if (hasMultiarch(machine))
    return [`/lib/${MULTIARCH[machine]}`, `/usr/lib/${MULTIARCH[machine]}`, '/lib', '/usr/lib'];
  return machine === 'x86-64' ? ['/lib64', '/usr/lib64'] : ['/lib', '/usr/lib'];
}
