import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildElf, type ElfSketch } from '../../test/support/elf-builder.ts';
import { type FileTree, fileTree } from '../../test/support/file-tree.ts';
import { ComicranError } from '../base/errors.ts';
import { closureOf } from './closure.ts';
import { Declared } from './declared.ts';
import { emptyLdCache, type LdCache } from './ld-cache.ts';

type World = {
  readonly environment?: Readonly<Record<string, string>>;
  /** Inside path -> host path below the tree. */
  readonly declared?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly cache?: LdCache;
};

/** Paths found for a program of the tree, relative to it, the program and the loader left out. */
function found(tree: FileTree, program: string, world: World = {}): string[] {
  return closure(tree, program, world)
    .found.slice(1)
    .map(({ place }) => place.inside.replace(`${tree.root}/`, ''))
    .filter((path) => path !== 'ld.so');
}

function closure(tree: FileTree, program: string, world: World = {}) {
  const inside = world.declared?.[program] === undefined ? tree.at(program) : program;
  const declared = new Map(Object.entries(world.declared ?? {}).map(([path, host]) => [path, tree.at(host)]));
  const origin = { chain: ['box', program], rule: 'configuration', by: 'executables' };
  return closureOf({ host: declared.get(program) ?? inside, inside }, origin, {
    declared: new Declared(declared, new Map(Object.entries(world.links ?? {}))),
    facts: {
      cache: world.cache ?? emptyLdCache(),
      defaultDirectories: { 'x86-64': [tree.at('default')], i386: [tree.at('default32')] },
      lib: { 'x86-64': 'lib/x86_64-linux-gnu', i386: 'lib/i386-linux-gnu' },
    },
    environment: world.environment ?? {},
  });
}

function refusal(tree: FileTree, program: string, world: World = {}): ComicranError {
  try {
    closure(tree, program, world);
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, `${thrown}`);
    assert.ok(thrown.hint !== undefined);
    return thrown;
  }
  return assert.fail('accepted');
}

const library = (sketch: ElfSketch = {}): Buffer => buildElf(sketch);

/** A tree with a loader; `program` has it as its interpreter. */
function treeWith(
  files: (program: (sketch: ElfSketch) => Buffer) => Readonly<Record<string, Buffer | string>>,
): FileTree {
  const tree = fileTree({ 'ld.so': library({ soname: 'ld.so' }) });
  tree.add(files((sketch) => buildElf({ interpreter: tree.at('ld.so'), ...sketch })));
  return tree;
}

test('a static executable needs nothing', () => {
  using tree = fileTree({ static: buildElf({ static: true, type: 2 }), pie: buildElf({}) });
  assert.deepEqual(found(tree, 'static'), []);
  assert.deepEqual(found(tree, 'pie'), []);
});

test('libraries are found breadth first, each name once, and the loader by its own name', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so', 'b.so', 'ld.so'] }),
    'default/a.so': library({ needed: ['c.so', 'b.so'] }),
    'default/b.so': library({ needed: ['a.so', 'ld.so'] }),
    'default/c.so': library({ soname: 'alias.so', needed: ['alias.so'] }),
  }));
  assert.deepEqual(found(tree, 'main'), ['default/a.so', 'default/b.so', 'default/c.so']);
});

test('the order is RPATH, LD_LIBRARY_PATH, RUNPATH, cache, default directories', () => {
  const everywhere = ['rpath', 'environment', 'runpath', 'cache', 'default'];
  for (const [index, kept] of everywhere.entries()) {
    for (const kind of ['rpath', 'runpath'] as const) {
      using tree = treeWith((program) => ({
        main: program({ needed: ['x.so'], [kind]: `$ORIGIN/${kind}` }),
        ...Object.fromEntries(everywhere.slice(index).map((name) => [`${name}/x.so`, library()])),
      }));
      const cache: LdCache = (machine, name) =>
        machine === 'x86-64' && name === 'x.so' ? [tree.at('cache/x.so')] : [];
      const world = { environment: { LD_LIBRARY_PATH: tree.at('environment') }, cache };
      const expected = everywhere.slice(index).find((name) => name === kind || !name.startsWith('r'));
      assert.deepEqual(found(tree, 'main', world), [`${expected}/x.so`], `${kind}, from ${kept} on`);
    }
  }
});

test('a RPATH serves what is needed further down, a RUNPATH only its own object', () => {
  const files = (kind: 'rpath' | 'runpath') =>
    treeWith((program) => ({
      main: program({ needed: ['a.so'], [kind]: '$ORIGIN/lib' }),
      'lib/a.so': library({ needed: ['b.so'] }),
      'lib/b.so': library(),
      'default/b.so': library(),
    }));
  using byRpath = files('rpath');
  assert.deepEqual(found(byRpath, 'main'), ['lib/a.so', 'lib/b.so']);
  using byRunpath = files('runpath');
  assert.deepEqual(found(byRunpath, 'main'), ['lib/a.so', 'default/b.so']);
});

test('an object with a RUNPATH is not served by the RPATHs above it', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'], rpath: '$ORIGIN/lib' }),
    'lib/a.so': library({ needed: ['b.so'], runpath: '/nowhere' }),
    'lib/b.so': library(),
    'default/b.so': library(),
  }));
  assert.deepEqual(found(tree, 'main'), ['lib/a.so', 'default/b.so']);
});

test('$ORIGIN, with braces too, $LIB and $PLATFORM are replaced; $ORIGINAL is not', () => {
  using tree = treeWith((program) => ({
    'bin/main': program({
      needed: ['a.so', 'b.so', 'c.so', 'd.so'],
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the loader replaces it
      runpath: ['${ORIGIN}/../own', '$ORIGIN/../$LIB', '$ORIGIN/../p/$PLATFORM', '$ORIGINAL/x'].join(':'),
    }),
    'own/a.so': library(),
    'lib/x86_64-linux-gnu/b.so': library(),
    'p/x86_64/c.so': library(),
    'p/haswell/c.so': library(),
    'default/d.so': library(),
  }));
  assert.deepEqual(found(tree, 'bin/main'), [
    'bin/../own/a.so',
    'bin/../lib/x86_64-linux-gnu/b.so',
    'bin/../p/haswell/c.so',
    'bin/../p/x86_64/c.so',
    'default/d.so',
  ]);
});

test('$ORIGIN of an executable is where its links lead, that of a library is where it was found', () => {
  using tree = treeWith((program) => ({
    'real/main': program({ needed: ['a.so'], runpath: '$ORIGIN' }),
    'real/a.so': library(),
  }));
  tree.add({ 'bin/main': { link: '../real/main' } });
  assert.deepEqual(found(tree, 'bin/main'), ['real/a.so']);

  using other = treeWith((program) => ({
    main: program({ needed: ['a.so'] }),
    'store/a.so.1': library({ needed: ['b.so'], runpath: '$ORIGIN/own' }),
    'default/own/b.so': library(),
  }));
  other.add({ 'default/a.so': { link: '../store/a.so.1' } });
  assert.deepEqual(found(other, 'main'), ['default/a.so', 'default/own/b.so']);
});

test('every variant for newer processors belongs to the sandbox, and the plain one, and what each of them needs', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'] }),
    'default/a.so': library(),
    'default/glibc-hwcaps/x86-64-v3/a.so': library({ needed: ['fast.so'] }),
    'default/glibc-hwcaps/x86-64-v9/a.so': library(),
    'default/fast.so': library(),
  }));
  assert.deepEqual(found(tree, 'main'), ['default/glibc-hwcaps/x86-64-v3/a.so', 'default/a.so', 'default/fast.so']);
});

test('a variant alone does not end the search: a plainer machine needs the library too', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'], runpath: '$ORIGIN/lib' }),
    'lib/glibc-hwcaps/x86-64-v2/a.so': library(),
    'default/a.so': library(),
  }));
  assert.deepEqual(found(tree, 'main'), ['lib/glibc-hwcaps/x86-64-v2/a.so', 'default/a.so']);
});

test('an object that asks for no default directories gets none', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'], flags1: 0x800 }),
    'default/a.so': library(),
  }));
  assert.equal(refusal(tree, 'main').code, 'elf.missing-library');
});

test('an object for another machine is passed over; a damaged one is the end, as for the loader', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'], runpath: '$ORIGIN/32:$ORIGIN/arm' }),
    '32/a.so': library({ bits: 32 }),
    'arm/a.so': library({ machine: 183 }),
    'default/a.so': library(),
  }));
  assert.deepEqual(found(tree, 'main'), ['default/a.so']);
  using damaged = treeWith((program) => ({
    main: program({ needed: ['a.so'], runpath: '$ORIGIN/bad' }),
    'bad/a.so': '/* GNU ld script */',
    'default/a.so': library(),
  }));
  const error = refusal(damaged, 'main');
  assert.equal(error.code, 'elf.invalid');
  assert.match(error.message, /bad\/a\.so \(box -> main -> a\.so\) cannot be loaded: it is not an ELF file/);
});

test('a 32-bit program gets 32-bit libraries', () => {
  using tree = fileTree({ 'default/a.so': library(), 'default32/a.so': library({ bits: 32 }) });
  tree.add({ main: buildElf({ bits: 32, needed: ['a.so'] }) });
  assert.deepEqual(found(tree, 'main'), ['default32/a.so']);
});

test('a library that is found by the cache alone is noted, because the sandbox then needs the cache', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so', 'b.so'] }),
    'default/b.so': library(),
    'far/a.so': library(),
  }));
  const cacheOf =
    (names: readonly string[]): LdCache =>
    (_machine, name) =>
      names.flatMap((path) => (path.endsWith(`/${name}`) ? [tree.at(path)] : []));
  assert.equal(closure(tree, 'main', { cache: cacheOf(['far/a.so', 'default/b.so']) }).needsCache, true);
  tree.add({ 'default/a.so': library() });
  assert.equal(closure(tree, 'main', { cache: cacheOf(['default/a.so', 'default/b.so']) }).needsCache, false);
  assert.deepEqual(found(tree, 'main', { cache: cacheOf(['gone/a.so']) }), ['default/a.so', 'default/b.so']);
});

test('what LD_PRELOAD names belongs to it', () => {
  using tree = treeWith((program) => ({ main: program({}), 'default/hook.so': library(), 'x/y.so': library() }));
  assert.deepEqual(found(tree, 'main', { environment: { LD_PRELOAD: `hook.so:${tree.at('x/y.so')}` } }), [
    'default/hook.so',
    'x/y.so',
  ]);
});

test('a program of the configuration’s own finds libraries where they are in the sandbox', () => {
  using tree = treeWith((program) => ({
    'build/server': program({ needed: ['a.so', 'b.so', 'c.so'], runpath: '$ORIGIN/../lib' }),
    'lib/a.so': library(),
    'elsewhere/b': library(),
    'elsewhere/c': library(),
  }));
  const result = closure(tree, '/app/bin/server', {
    declared: {
      '/app/bin/server': 'build/server',
      '/app/lib/b.so': 'elsewhere/b',
      '/srv/c.so': 'elsewhere/c',
    },
    links: { '/app/lib/c.so': '../../srv/c.so' },
  });
  assert.deepEqual(
    result.found.filter(({ place }) => !place.host.endsWith('ld.so')).map(({ place }) => place),
    [
      { host: tree.at('build/server'), inside: '/app/bin/server' },
      { host: `${tree.root}/build/../lib/a.so`, inside: '/app/lib/a.so' },
      { host: tree.at('elsewhere/b'), inside: '/app/lib/b.so' },
      { host: tree.at('elsewhere/c'), inside: '/srv/c.so' },
    ],
  );
});

test('a missing library is named with the chain that led to it, and nothing like it is taken', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['a.so'] }),
    'default/a.so': library({ needed: ['b.so'], runpath: '$ORIGIN/32' }),
    'default/32/b.so': library({ bits: 32 }),
  }));
  const error = refusal(tree, 'main');
  assert.equal(error.code, 'elf.missing-library');
  assert.equal(
    error.message,
    `the library b.so of ${tree.at('default/a.so')} was not found (box -> main -> a.so -> b.so); ` +
      `${tree.at('default/32/b.so')} is not for x86-64`,
  );
  assert.match(error.hint!, /Install the package/);
});

test('a missing loader is named', () => {
  using tree = fileTree({ main: buildElf({ interpreter: '/nowhere/ld.so' }) });
  const error = refusal(tree, 'main');
  assert.equal(error.code, 'config.missing-file');
  assert.match(
    error.message,
    /the dynamic loader \/nowhere\/ld\.so does not exist \(box -> main -> \/nowhere\/ld\.so\)/,
  );
});

test('scripts bring their interpreter, and the interpreter of that', () => {
  using tree = treeWith((program) => ({
    'bin/sh': program({ needed: ['a.so'] }),
    'default/a.so': library(),
  }));
  tree.add({ 'bin/inner': `#! ${tree.at('bin/sh')} -e\n`, main: `#!${tree.at('bin/inner')}\n` });
  assert.deepEqual(found(tree, 'main'), ['bin/inner', 'bin/sh', 'default/a.so']);
});

test('a script of env brings env and the program that env finds on the PATH of the process', () => {
  using tree = treeWith((program) => ({
    'bin/env': program({}),
    'own/node': program({ needed: ['a.so'] }),
    'default/a.so': library(),
  }));
  const environment = { PATH: `relative:/nowhere:${tree.at('own')}` };
  for (const line of ['env node', 'env -S node --flag', 'env -S  A=1 B=2 node x', 'env -vS node']) {
    tree.add({ main: `#!${tree.at('bin')}/${line}\nconsole.log(1)\n` });
    assert.deepEqual(found(tree, 'main', { environment }), ['bin/env', 'own/node', 'default/a.so'], line);
  }
  tree.add({ other: `#!${tree.at('bin/env')} nonesuch\n` });
  const error = refusal(tree, 'other', { environment });
  assert.match(error.message, /'nonesuch', which env starts for other, is in no directory of relative:/);
  assert.match(error.message, /\(box -> other -> nonesuch\)/);
});

const BAD_PROGRAMS: readonly [string, string | Buffer, RegExp, RegExp][] = [
  ['an empty file', '', /main \(box -> main\) cannot be executed: it is empty/, /Name a program/],
  ['text', 'hello', /is neither an ELF file nor a script/, /Name a program/],
  ['a script without an interpreter', '#!\n', /the interpreter '' \(not an absolute path\) of main/, /first line/],
  ['a relative interpreter', '#!sh\n', /the interpreter 'sh' \(not an absolute path\)/, /first line/],
  [
    'a missing interpreter',
    '#!/nowhere/sh\n',
    /'\/nowhere\/sh' of main does not exist \(box -> main -> \/nowhere\/sh\)/,
    /Install/,
  ],
  ['Windows line endings', '#!/bin/sh\r\n', /'\/bin\/sh\\r'/, /Windows line endings/],
  [
    'a truncated executable',
    buildElf({ needed: ['a'] }).subarray(0, 100),
    /main \(box -> main\) .* truncated/,
    /complete/,
  ],
];
for (const [name, content, message, hint] of BAD_PROGRAMS) {
  test(`refused: ${name}`, () => {
    using tree = fileTree({ main: content });
    const error = refusal(tree, 'main');
    assert.match(error.message, message);
    assert.match(error.hint!, hint);
  });
}

test('a script that is its own interpreter is refused', () => {
  using tree = fileTree();
  tree.add({ main: `#!${tree.at('main')}\n` });
  assert.match(refusal(tree, 'main').message, /main is a script of a script, 5 deep/);
});

test('libraries that need each other and a symbolic link to itself do not hold it up', () => {
  using tree = treeWith((program) => ({
    main: program({ needed: ['loop.so', 'a.so'], runpath: '$ORIGIN/lib' }),
    'default/a.so': library({ needed: ['a.so', 'main'] }),
    'default/main': library(),
    'default/loop.so': library(),
  }));
  tree.add({ 'lib/loop.so': { link: 'loop.so' } });
  assert.deepEqual(found(tree, 'main'), ['default/loop.so', 'default/a.so', 'default/main']);
});
