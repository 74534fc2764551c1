/**
 * /etc/ld.so.cache: where ldconfig has found which library. The loader asks it before the default directories, and asks
 * nothing else (not ld.so.conf), so neither does this.
 *
 * Layout: `struct cache_file_new` in glibc's sysdeps/generic/dl-cache.h. An older file has a table of another format in
 * front of it. A damaged file is an empty one, as it is to the loader.
 */
import type { ElfMachine } from './elf.ts';

/** Paths by library name, for each kind of object; one that a newer processor may prefer stands beside the plain one. */
export type LdCache = (machine: ElfMachine, name: string) => readonly string[];

const MAGIC = 'glibc-ld.so.cache1.1';
const OLD_MAGIC = 'ld.so-1.7.0';
const OLD_HEADER_BYTES = 16;
const OLD_ENTRY_BYTES = 12;
const HEADER_BYTES = 48;
const ENTRY_BYTES = 24;
const MAX_NAME_BYTES = 4096;
/** FLAG_ELF_LIBC6, with FLAG_X8664_LIB64 for x86-64 (sysdeps/generic/ldconfig.h). */
const MACHINE_OF_FLAGS: ReadonlyMap<number, ElfMachine> = new Map([
  [0x303, 'x86-64'],
  [0x003, 'i386'],
]);

export function emptyLdCache(): LdCache {
  return () => [];
}

export function parseLdCache(file: Buffer): LdCache {
  const cache = behindOldTable(file);
  if (cache.toString('latin1', 0, MAGIC.length) !== MAGIC || cache.length < HEADER_BYTES) return emptyLdCache();
  const count = cache.readUInt32LE(20);
  if (HEADER_BYTES + count * ENTRY_BYTES > cache.length) return emptyLdCache();

  const paths = new Map<string, string[]>();
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    const machine = MACHINE_OF_FLAGS.get(cache.readUInt32LE(at));
    const name = stringAt(cache, cache.readUInt32LE(at + 4));
    const path = stringAt(cache, cache.readUInt32LE(at + 8));
    if (machine === undefined || name === undefined || path === undefined || !path.startsWith('/')) continue;
    const key = `${machine} ${name}`;
    const known = paths.get(key);
    if (known === undefined) paths.set(key, [path]);
    else known.push(path);
  }
  return (machine, name) => paths.get(`${machine} ${name}`) ?? [];
}

function behindOldTable(file: Buffer): Buffer {
  if (file.toString('latin1', 0, OLD_MAGIC.length) !== OLD_MAGIC || file.length < OLD_HEADER_BYTES) return file;
  const end = OLD_HEADER_BYTES + file.readUInt32LE(12) * OLD_ENTRY_BYTES;
  return file.subarray(Math.ceil(end / 8) * 8);
}

function stringAt(cache: Buffer, offset: number): string | undefined {
  const end = cache.indexOf(0, offset);
  if (offset >= cache.length || end === -1 || end - offset > MAX_NAME_BYTES) return undefined;
  return cache.toString('utf8', offset, end);
}
