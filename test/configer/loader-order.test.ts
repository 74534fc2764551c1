/** Made-up programs with made-up libraries in made-up places: the dynamic loader of this machine finds what configer does. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../../src/base/errors.ts';
import { closureOf } from '../../src/configer/closure.ts';
import { Declared } from '../../src/configer/declared.ts';
import { hostLoaderFacts } from '../../src/configer/loader-facts.ts';
import { buildElf, type ElfSketch } from '../support/elf-builder.ts';
import { type FileTree, fileTree } from '../support/file-tree.ts';

const LOADER = '/lib64/ld-linux-x86-64.so.2';
const RUNS = 200;

const reason = existsSync(LOADER) ? false : `needs ${LOADER}`;
if (reason !== false && process.env['MUST_RUN'] === '1') throw new Error(reason);

const LIBRARIES = ['a.so', 'b.so', 'c.so', 'd.so'];
const DIRECTORIES = ['one', 'two', 'lib/x86_64-linux-gnu', 'one/deep'];
/** From an object in any of the directories, most of these lead somewhere. */
const SEARCH = [
  '$ORIGIN',
  '$ORIGIN/../one',
  '$ORIGIN/two',
  '$ORIGIN/../$LIB',
  '$ORIGIN/..',
  '/nowhere',
  '$ORIGIN/deep',
  'TREE/two',
];

const object = (leastNeeded: number) =>
  fc.record({
    needed: fc.uniqueArray(fc.constantFrom(...LIBRARIES), { minLength: leastNeeded, maxLength: 2 }),
    soname: fc.option(fc.constantFrom(...LIBRARIES), { nil: undefined }),
    rpath: fc.array(fc.constantFrom(...SEARCH), { maxLength: 2 }),
    runpath: fc.array(fc.constantFrom(...SEARCH), { maxLength: 2 }),
    bits: fc.constantFrom(32 as const, 64 as const, 64 as const, 64 as const, 64 as const, 64 as const, 64 as const),
  });
type Drawn = ReturnType<typeof object> extends fc.Arbitrary<infer T> ? T : never;
const world = fc.record({
  main: object(1),
  libraries: fc.uniqueArray(fc.tuple(fc.constantFrom(...DIRECTORIES), fc.constantFrom(...LIBRARIES), object(0)), {
    minLength: 8,
    maxLength: 16,
    selector: ([directory, name]) => `${directory}/${name}`,
  }),
  libraryPath: fc.array(fc.constantFrom(...DIRECTORIES), { maxLength: 2 }),
});

type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

function lay(tree: FileTree, { main, libraries }: World): void {
  const bytes = ({ needed, soname, rpath, runpath, bits }: Drawn, more: ElfSketch = {}): Buffer => {
    const joined = (entries: readonly string[]): string => entries.join(':').replaceAll('TREE', tree.root);
    return buildElf({
      needed,
      bits,
      ...(soname === undefined ? {} : { soname }),
      ...(rpath.length === 0 ? {} : { rpath: joined(rpath) }),
      ...(runpath.length === 0 ? {} : { runpath: joined(runpath) }),
      ...more,
    });
  };
  tree.add({ 'one/main': bytes({ ...main, soname: undefined }, { interpreter: LOADER, bits: 64 }) });
  for (const [directory, name, sketch] of libraries) tree.add({ [`${directory}/${name}`]: bytes(sketch) });
}

function byLoader(tree: FileTree, libraryPath: string): string[] | 'missing' {
  const { stdout, stderr, status } = spawnSync(LOADER, ['--list', tree.at('one/main')], {
    encoding: 'utf8',
    env: { LD_LIBRARY_PATH: libraryPath, LC_ALL: 'C' },
  });
  if (/cannot open shared object file|wrong ELF class/.test(stderr)) return 'missing';
  assert.equal(status, 0, stderr);
  return [...stdout.matchAll(/=> (\/\S+) \(0x/gm)].map((match) => match[1]!).toSorted();
}

function byConfiger(tree: FileTree, libraryPath: string): string[] | 'missing' {
  const inside = tree.at('one/main');
  try {
    const { found } = closureOf(
      { host: inside, inside },
      { chain: ['x', inside], rule: 'configuration', by: 'x' },
      {
        declared: new Declared(new Map(), new Map()),
        facts: hostLoaderFacts(),
        environment: { LD_LIBRARY_PATH: libraryPath },
      },
    );
    return found
      .slice(1)
      .map(({ place }) => place.host)
      .filter((path) => path !== LOADER)
      .toSorted();
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError && thrown.code === 'elf.missing-library', `${thrown}`);
    return 'missing';
  }
}

test('the loader of this machine and configer find the same libraries in the same places', { skip: reason }, (t) => {
  let missing = 0;
  let libraries = 0;
  fc.assert(
    fc.property(world, (wanted) => {
      using tree = fileTree();
      lay(tree, wanted);
      const libraryPath = wanted.libraryPath.map((directory) => tree.at(directory)).join(':');
      const expected = byLoader(tree, libraryPath);
      assert.deepEqual(byConfiger(tree, libraryPath), expected);
      if (expected === 'missing') missing++;
      else libraries += expected.length;
    }),
    { numRuns: RUNS },
  );
  t.diagnostic(`${RUNS} programs: ${missing} lack a library, the others have ${libraries} in all`);
  assert.ok(missing > RUNS / 20 && missing < (RUNS * 19) / 20, `${missing} of ${RUNS} lack a library`);
});

test('what the loader takes for this processor is among the variants that configer takes', { skip: reason }, () => {
  using tree = fileTree();
  const program = buildElf({ interpreter: LOADER, needed: ['a.so'], runpath: '$ORIGIN/../one' });
  const levels = ['', ...['x86-64-v2', 'x86-64-v3', 'x86-64-v4'].map((level) => `glibc-hwcaps/${level}/`)];
  tree.add({ 'one/main': program });
  for (const level of levels) tree.add({ [`one/${level}a.so`]: buildElf({}) });
  const expected = byLoader(tree, '');
  const found = byConfiger(tree, '');
  assert.ok(Array.isArray(expected) && Array.isArray(found));
  for (const path of expected) assert.ok(found.includes(path), path);
  assert.equal(found.filter((path) => path.endsWith('/a.so')).length, levels.length);
});
