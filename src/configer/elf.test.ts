import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { buildElf, type ElfSketch } from '../../test/support/elf-builder.ts';
import { ComicranError } from '../base/errors.ts';
import { type ElfObject, machineOf, parseElf } from './elf.ts';

function parse(bytes: Buffer): Omit<ElfObject, 'mentions'> {
  const { mentions: _, ...rest } = parseElf((offset, length) => bytes.subarray(offset, offset + length), 'x');
  return rest;
}

/** The message of the ComicranError, or undefined if the bytes were read. Anything else thrown is a failure. */
function refusal(bytes: Buffer): string | undefined {
  try {
    parse(bytes);
    return undefined;
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, `${thrown}`);
    assert.equal(thrown.code, 'elf.invalid');
    assert.ok(thrown.hint !== undefined);
    return thrown.message;
  }
}

const FULL: ElfSketch = {
  interpreter: '/lib64/ld-linux-x86-64.so.2',
  needed: ['libb.so.1', 'liba.so.1'],
  soname: 'libx.so.3',
  runpath: '$ORIGIN/../lib:/opt/lib',
  flags1: 0x800,
};

for (const bits of [32, 64] as const) {
  test(`reads what the loader reads, ${bits} bits`, () => {
    assert.deepEqual(parse(buildElf({ ...FULL, bits })), {
      machine: bits === 64 ? 'x86-64' : 'i386',
      interpreter: '/lib64/ld-linux-x86-64.so.2',
      needed: ['libb.so.1', 'liba.so.1'],
      soname: 'libx.so.3',
      runpath: '$ORIGIN/../lib:/opt/lib',
      noDefaultLibraries: true,
      dlopenNotes: [],
    });
    assert.deepEqual(parse(buildElf({ bits, static: true })), {
      machine: bits === 64 ? 'x86-64' : 'i386',
      needed: [],
      noDefaultLibraries: false,
      dlopenNotes: [],
    });
  });
}

test('a DT_RUNPATH makes the loader ignore the DT_RPATH beside it', () => {
  assert.equal(parse(buildElf({ rpath: '/a' })).rpath, '/a');
  const both = parse(buildElf({ rpath: '/a', runpath: '/b' }));
  assert.equal(both.rpath, undefined);
  assert.equal(both.runpath, '/b');
});

test('finds the version names of a C library', () => {
  const bytes = buildElf({ needed: ['a'], strings: ['GLIBC_2.33', 'GLIBC_2.34x'] });
  const elf = parseElf((offset, length) => bytes.subarray(offset, offset + length), 'x');
  assert.equal(elf.mentions('GLIBC_2.33'), true);
  assert.equal(elf.mentions('GLIBC_2.34'), false);
});

test('reads the Node that runs this test', () => {
  const elf = parse(readFileSync(process.execPath));
  assert.equal(elf.machine, 'x86-64');
  assert.ok(elf.needed.includes('libc.so.6'));
});

const good = buildElf(FULL);
/** A copy with bytes of the header replaced. */
function patched(at: number, ...bytes: number[]): Buffer {
  const copy = Buffer.from(good);
  copy.set(bytes, at);
  return copy;
}

const REFUSED: readonly [string, Buffer, RegExp][] = [
  ['no bytes', Buffer.alloc(0), /not an ELF file/],
  ['text', Buffer.from('#!/bin/sh\n'), /not an ELF file/],
  ['magic alone', good.subarray(0, 4), /truncated: it ends before the end of its header/],
  ['half a header', good.subarray(0, 40), /truncated.* header/],
  ['no program headers in the file', good.subarray(0, 70), /truncated.* program headers/],
  ['no interpreter in the file', good.subarray(0, 64 + 3 * 56 + 3), /truncated.* interpreter/],
  ['a cut dynamic section', good.subarray(0, -10), /truncated.* dynamic section/],
  ['class 3', patched(4, 3), /class is 3/],
  ['big-endian', patched(5, 2), /not little-endian/],
  ['a relocatable object', patched(16, 1), /ELF type is 1/],
  ['a core file', patched(16, 4), /ELF type is 4/],
  ['AArch64', patched(18, 183), /ELF machine 183/],
  ['x32', buildElf({ ...FULL, bits: 32, machine: 62 }), /ELF machine 62 with 32 bits/],
  ['program headers at 2^63', patched(32, 0, 0, 0, 0, 0, 0, 0, 0x80), /truncated.* program headers/],
  ['program headers of 8 bytes', patched(54, 8, 0), /8 bytes each/],
  ['65535 program headers', patched(56, 0xff, 0xff), /65535 program headers/],
  ['a relative interpreter', buildElf({ interpreter: 'ld.so' }), /not an absolute path/],
  ['an interpreter without a name', buildElf({ interpreter: '' }), /name is 1 bytes/],
  ['a library without a name', buildElf({ needed: [''] }), /library without a name/],
];
for (const [name, bytes, expected] of REFUSED) {
  test(`refused: ${name}`, () => assert.match(refusal(bytes) ?? 'accepted', expected));
}

test('a string behind the end of the table is refused', () => {
  const bytes = buildElf({ needed: ['libc.so.6'] });
  bytes.writeBigUInt64LE(0xffffn, bytes.length - 4 * 16 + 8);
  assert.match(refusal(bytes) ?? 'accepted', /string at 65535, behind the end/);
});

test('any bytes are an object or one ComicranError', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void refusal(Buffer.from(bytes))));
  const start = good.subarray(0, 24);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void refusal(Buffer.concat([start, bytes]))),
    { numRuns: 2000 },
  );
});

test('an object with any bytes changed, or cut anywhere, is an object or one ComicranError', () => {
  const objects = [good, buildElf({ ...FULL, bits: 32 }), buildElf({ rpath: '/a', needed: ['b'] })];
  fc.assert(
    fc.property(
      fc.constantFrom(...objects),
      fc.array(fc.tuple(fc.nat(600), fc.integer({ min: 0, max: 255 })), { maxLength: 8 }),
      fc.nat(600),
      (object, changes, cut) => {
        const copy = Buffer.from(object);
        for (const [at, value] of changes) copy[at % copy.length] = value;
        refusal(copy);
        refusal(copy.subarray(0, cut));
      },
    ),
    { numRuns: 5000 },
  );
  for (let cut = 0; cut < good.length; cut++) assert.ok(refusal(good.subarray(0, cut)) !== undefined, `cut at ${cut}`);
});

test('what is written is what is read', () => {
  const name = fc.stringMatching(/^[a-z0-9._+-]{1,20}$/);
  const sketch = fc.record(
    {
      bits: fc.constantFrom(32 as const, 64 as const),
      needed: fc.array(name, { maxLength: 20 }),
      soname: name,
      rpath: fc.string({ unit: 'grapheme', maxLength: 30 }).filter((text) => !text.includes('\0')),
      interpreter: name.map((text) => `/${text}`),
    },
    { requiredKeys: ['bits', 'needed'] },
  );
  fc.assert(
    fc.property(sketch, (want) => {
      const { machine, noDefaultLibraries: _, dlopenNotes: _notes, ...got } = parse(buildElf(want));
      const { bits, ...expected } = want;
      assert.deepEqual({ ...got }, { ...expected });
      assert.equal(machine, bits === 64 ? 'x86-64' : 'i386');
    }),
  );
});

test('the machine is known from the first 20 bytes alone', () => {
  assert.equal(machineOf(good.subarray(0, 20)), 'x86-64');
  assert.equal(machineOf(good.subarray(0, 19)), undefined);
  assert.equal(machineOf(patched(18, 183).subarray(0, 20)), undefined);
});

test('notes about libraries that are loaded by name are read, and damaged ones are none', () => {
  const json = '[{"soname":["libx.so.1"]}]';
  assert.deepEqual(parse(buildElf({ dlopenNotes: [json, 'second'] })).dlopenNotes, [json, 'second']);
  const bytes = buildElf({ dlopenNotes: [json] });
  bytes.writeUInt32LE(0xffff_fff0, bytes.indexOf('FDO\0') - 8);
  assert.deepEqual(parse(bytes).dlopenNotes, []);
});
