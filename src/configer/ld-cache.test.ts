import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseLdCache } from './ld-cache.ts';

type Entry = { readonly flags: number; readonly name: string; readonly path: string };

/** As ldconfig writes it. */
function cacheFile(entries: readonly Entry[]): Buffer {
  const head = Buffer.alloc(48 + entries.length * 24);
  head.write('glibc-ld.so.cache1.1', 0, 'latin1');
  head.writeUInt32LE(entries.length, 20);
  let strings = '';
  const nameOf = (text: string): number => {
    const at = head.length + Buffer.byteLength(strings);
    strings += `${text}\0`;
    return at;
  };
  for (const [index, { flags, name, path }] of entries.entries()) {
    const at = 48 + index * 24;
    head.writeUInt32LE(flags, at);
    head.writeUInt32LE(nameOf(name), at + 4);
    head.writeUInt32LE(nameOf(path), at + 8);
  }
  return Buffer.concat([head, Buffer.from(strings)]);
}

const ENTRIES: readonly Entry[] = [
  { flags: 0x303, name: 'liba.so.1', path: '/lib/glibc-hwcaps/x86-64-v3/liba.so.1' },
  { flags: 0x303, name: 'liba.so.1', path: '/lib/liba.so.1' },
  { flags: 0x003, name: 'liba.so.1', path: '/lib32/liba.so.1' },
  { flags: 0x803, name: 'liba.so.1', path: '/libx32/liba.so.1' },
  { flags: 0x303, name: 'libb.so.2', path: 'relative/libb.so.2' },
];

test('a name has its paths, by machine, in the order of the file', () => {
  const cache = parseLdCache(cacheFile(ENTRIES));
  assert.deepEqual(cache('x86-64', 'liba.so.1'), ['/lib/glibc-hwcaps/x86-64-v3/liba.so.1', '/lib/liba.so.1']);
  assert.deepEqual(cache('i386', 'liba.so.1'), ['/lib32/liba.so.1']);
  assert.deepEqual(cache('x86-64', 'libb.so.2'), []);
  assert.deepEqual(cache('x86-64', 'nonesuch'), []);
});

test('a table of the old format in front of it is stepped over', () => {
  const old = Buffer.alloc(16 + 3 * 12 + 4);
  old.write('ld.so-1.7.0', 0, 'latin1');
  old.writeUInt32LE(3, 12);
  const cache = parseLdCache(Buffer.concat([old, cacheFile(ENTRIES)]));
  assert.deepEqual(cache('i386', 'liba.so.1'), ['/lib32/liba.so.1']);
});

test('a damaged file is an empty one, whatever is in it', () => {
  const good = cacheFile(ENTRIES);
  const look = (bytes: Buffer): void => void parseLdCache(bytes)('x86-64', 'liba.so.1');
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => look(Buffer.from(bytes))));
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(), (at, value, cut) => {
      const copy = Buffer.from(good);
      copy[at % copy.length] = value;
      look(copy);
      look(copy.subarray(0, cut % copy.length));
    }),
    { numRuns: 1000 },
  );
  const many = Buffer.from(good);
  many.writeUInt32LE(0xffffffff, 20);
  assert.deepEqual(parseLdCache(many)('x86-64', 'liba.so.1'), []);
});
