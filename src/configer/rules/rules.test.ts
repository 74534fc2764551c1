/** Each rule by what it brings: the paths in the sandbox and why each is there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildElf } from '../../../test/support/elf-builder.ts';
import { type FileTree, fileTree } from '../../../test/support/file-tree.ts';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { parseBaseConfig } from '../base-config.ts';
import { emptyLdCache } from '../ld-cache.ts';
import { resolveConfig } from '../resolve.ts';

const notes: string[] = [];

async function resolve(tree: FileTree, text: string): Promise<FullConfig> {
  notes.length = 0;
  const base = parseBaseConfig(
    `{id: box, network: {address: 10.88.0.5}, etc: none, ${text.replaceAll('T/', `${tree.root}/`)}}`,
    'b',
  );
  return resolveConfig(base, {
    directory: tree.root,
    facts: {
      cache: emptyLdCache(),
      defaultDirectories: { 'x86-64': [tree.at('lib')], i386: [] },
      lib: { 'x86-64': 'lib', i386: 'lib' },
    },
    share: tree.at('share'),
    onNote: (note) => notes.push(note.replaceAll(tree.root, 'T')),
  });
}

/** `path <- why` of what a rule has brought. */
function brought({ files, symlinks }: FullConfig, tree: FileTree, rule: string): string[] {
  return [...files, ...symlinks]
    .filter(({ why }) => why?.startsWith(`${rule}: `))
    .map(({ path, why }) => `${path} <- ${why!.slice(rule.length + 2)}`.replaceAll(tree.root, 'T'))
    .toSorted();
}

const node = (files: Parameters<typeof fileTree>[0]): FileTree =>
  fileTree({ node: buildElf({ static: true, type: 2 }), ...files });
const NODE = 'process: {executable: {source: node, path: /usr/bin/node}, arguments: [/srv/main.js]}';
const MAIN = 'files: [{source: app/main.js, path: /srv/main.js}]';

test('nodeModules: a script with a place of its own takes along what it imports, and the manifests', async () => {
  using tree = node({
    'app/main.js': "import './lib/a.js'; import ws from 'ws'; import 'node:fs'; import 'fs';",
    'app/package.json': '{"type": "module"}',
    'app/lib/a.js': "import data from './data.json' with { type: 'json' };",
    'app/lib/data.json': '{}',
    'app/lib/unused.js': '',
    'app/node_modules/ws/package.json': '{"exports": {"import": "./wrap.mjs", "require": "./index.js"}}',
    'app/node_modules/ws/wrap.mjs': "import './lib/x.js'",
    'app/node_modules/ws/lib/x.js': "require('./y')",
    'app/node_modules/ws/lib/y/index.js': '',
    'app/node_modules/ws/index.js': '',
    'app/node_modules/ws/README.md': '',
  });
  assert.deepEqual(brought(await resolve(tree, `${NODE}, ${MAIN}`), tree, 'nodeModules'), [
    '/srv/lib/a.js <- /srv/main.js',
    '/srv/lib/data.json <- /srv/lib/a.js',
    '/srv/node_modules/ws/lib/x.js <- /srv/node_modules/ws/wrap.mjs',
    '/srv/node_modules/ws/lib/y/index.js <- /srv/node_modules/ws/lib/x.js',
    '/srv/node_modules/ws/package.json <- /srv/node_modules/ws/wrap.mjs',
    '/srv/node_modules/ws/wrap.mjs <- /srv/main.js',
    '/srv/package.json <- /srv/main.js',
  ]);
  assert.deepEqual(notes, []);
});

test('nodeModules: conditions of the command line, imports of the manifest, links of a workspace', async () => {
  using tree = node({
    'app/main.js': "require('#own'); require('two')",
    'app/package.json': '{"imports": {"#own": {"special": "./special.js", "default": "./plain.js"}}}',
    'app/special.js': '',
    'app/plain.js': '',
    'app/node_modules/two': { link: '../packages/two' },
    'app/packages/two/package.json': '{"main": "lib/start"}',
    'app/packages/two/lib/start.js': '',
  });
  const text = NODE.replace('[/srv', '[-C, special, /srv');
  const config = await resolve(tree, `${text}, ${MAIN}`);
  assert.deepEqual(brought(config, tree, 'nodeModules'), [
    '/srv/node_modules/two <- /srv/main.js',
    '/srv/package.json <- /srv/main.js',
    '/srv/packages/two/lib/start.js <- /srv/main.js',
    '/srv/packages/two/package.json <- /srv/packages/two/lib/start.js',
    '/srv/special.js <- /srv/main.js',
  ]);
  assert.deepEqual(
    config.symlinks.map(({ path, target }) => [path, target]),
    [['/srv/node_modules/two', '../packages/two']],
  );
});

test('nodeModules: a package that looks for its files by itself comes whole, with addons and what they need', async () => {
  using tree = node({
    'app/main.js': "require('native')",
    'app/node_modules/native/package.json':
      '{"main": "i.js", "optionalDependencies": {"native-linux": "1", "native-win": "1"}}',
    'app/node_modules/native/i.js': "require('./prebuilds/' + process.arch + '.node')",
    'app/node_modules/native/prebuilds/x64.node': buildElf({ needed: ['libown.so.1'] }),
    'app/node_modules/native/prebuilds/arm64.node': buildElf({ machine: 183 }),
    'app/node_modules/native/node_modules/inner/index.js': '',
    'app/node_modules/native-linux/package.json': '{"os": ["linux"], "cpu": ["x64"]}',
    'app/node_modules/native-linux/a.node': buildElf({}),
    'app/node_modules/native-win/package.json': '{"os": ["win32"]}',
    'lib/libown.so.1': buildElf({}),
  });
  const config = await resolve(tree, `${NODE}, ${MAIN}`);
  assert.deepEqual(brought(config, tree, 'nodeModules'), [
    '/srv/node_modules/native-linux/a.node <- /srv/node_modules/native/i.js',
    '/srv/node_modules/native-linux/package.json <- /srv/node_modules/native/i.js',
    '/srv/node_modules/native/i.js <- /srv/main.js',
    '/srv/node_modules/native/package.json <- /srv/node_modules/native/i.js',
    '/srv/node_modules/native/prebuilds/x64.node <- /srv/node_modules/native/i.js',
  ]);
  assert.deepEqual(brought(config, tree, 'library'), [
    'T/lib/libown.so.1 <- /srv/node_modules/native/prebuilds/x64.node',
  ]);
});

test('nodeModules: what is missing is an error where it is certain, and a note where it is not', async () => {
  using tree = node({ 'app/main.js': "try { require('maybe') } catch {} ; require(name)" });
  await resolve(tree, `${NODE}, ${MAIN}`);
  assert.deepEqual(notes, [
    'maybe, which /srv/main.js may load, was not found',
    "/srv/main.js loads by computed names, or looks for files beside it: 'configer trace' shows which",
  ]);
  tree.add({ 'app/main.js': "import 'surely'" });
  await assert.rejects(resolve(tree, `${NODE}, ${MAIN}`), (thrown) => {
    assert.ok(thrown instanceof ComicranError && thrown.code === 'config.missing-file');
    assert.match(thrown.message, /^the module surely, which \/srv\/main\.js imports, was not found \(box -> /);
    return true;
  });
  await assert.rejects(resolve(tree, NODE), /the script \/srv\/main\.js of \/usr\/bin\/node was not found/);
  const off = await resolve(tree, `${NODE}, dependencies: {nodeModules: false}`);
  assert.deepEqual(
    off.files.map(({ path }) => path),
    ['/usr/bin/node'],
  );
  await resolve(tree, `${NODE}, writable: [/srv]`);
});

test('nodeModules: a module that imports itself in a circle, and a file that is none, end', async () => {
  using tree = node({
    'app/main.js': "require('./b'); require('./c.js')",
    'app/b.js': "require('./main')",
    'app/c.js': '%',
  });
  assert.deepEqual(brought(await resolve(tree, `${NODE}, ${MAIN}`), tree, 'nodeModules'), [
    '/srv/b.js <- /srv/main.js',
    '/srv/c.js <- /srv/main.js',
  ]);
  assert.deepEqual(notes, ['/srv/c.js is not JavaScript that can be read; what it imports is not looked for']);
});

const PROGRAM = 'process: {executable: {source: program, path: /program}';
const libc = (versions: readonly string[]): Buffer => buildElf({ soname: 'libc.so.6', strings: versions });

test('nameServices: the modules of nsswitch.conf that are not built in', async () => {
  using tree = fileTree({
    program: buildElf({ needed: ['libc.so.6'] }),
    'lib/libc.so.6': libc([]),
    'lib/libnss_files.so.2': buildElf({}),
    'lib/libnss_wins.so.2': buildElf({ needed: ['libwins.so'] }),
    'lib/libwins.so': buildElf({}),
    nsswitch: 'passwd: files # wins\nhosts: files [!UNAVAIL=return] wins nowhere\n',
  });
  const text = `${PROGRAM}}, files: [{source: nsswitch, path: /etc/nsswitch.conf}]`;
  assert.deepEqual(brought(await resolve(tree, text), tree, 'nameServices'), [
    'T/lib/libnss_files.so.2 <- T/lib/libc.so.6',
    'T/lib/libnss_wins.so.2 <- T/lib/libc.so.6',
  ]);
  tree.add({ 'lib/libc.so.6': libc(['GLIBC_2.34']) });
  assert.deepEqual(brought(await resolve(tree, text), tree, 'nameServices'), [
    'T/lib/libnss_wins.so.2 <- T/lib/libc.so.6',
  ]);
  assert.deepEqual(
    brought(await resolve(tree, `${text}, dependencies: {nameServices: false}`), tree, 'nameServices'),
    [],
  );
});

test('dlopenNotes, plugins and namedLibraries: libraries that are loaded by name, with what they need', async () => {
  using tree = fileTree({
    program: buildElf({
      needed: ['libcrypto.so.3'],
      dlopenNotes: ['[{"soname": ["libnoted.so.1", "libabsent.so"], "priority": "suggested"}]'],
      strings: ['dlopen', 'libnamed.so.4', 'libnowhere.so'],
    }),
    'lib/libcrypto.so.3': buildElf({}),
    'lib/ossl-modules/legacy.so': buildElf({ needed: ['libmore.so'] }),
    'lib/ossl-modules/README': '',
    'lib/libnoted.so.1': buildElf({}),
    'lib/libnamed.so.4': buildElf({}),
    'lib/libmore.so': buildElf({}),
  });
  const config = await resolve(tree, `${PROGRAM}}, dependencies: {namedLibraries: true}`);
  assert.deepEqual(brought(config, tree, 'dlopenNotes'), ['T/lib/libnoted.so.1 <- /program']);
  assert.deepEqual(brought(config, tree, 'plugins'), ['T/lib/ossl-modules/legacy.so <- T/lib/libcrypto.so.3']);
  assert.deepEqual(brought(config, tree, 'namedLibraries'), ['T/lib/libnamed.so.4 <- /program']);
  assert.deepEqual(brought(config, tree, 'library'), [
    'T/lib/libcrypto.so.3 <- /program',
    'T/lib/libmore.so <- T/lib/ossl-modules/legacy.so',
  ]);
  const less = await resolve(tree, `${PROGRAM}}, dependencies: {plugins: false, dlopenNotes: false}`);
  assert.deepEqual(
    less.files.map(({ path }) => path.replace(tree.root, 'T')),
    ['T/lib/libcrypto.so.3', '/program'].toSorted((a, b) => (a.replace('T', tree.root) < b ? -1 : 1)),
  );
});

test('timeZone and locale: what the environment names, or an error', async () => {
  using tree = fileTree({ program: buildElf({ static: true, type: 2 }) });
  const withEnvironment = (environment: string, more = '') =>
    resolve(tree, `${PROGRAM}, environment: {${environment}}}${more}`);
  for (const plain of ['LANG: C', 'LC_ALL: POSIX', "TZ: 'CET-1CEST,M3.5.0,M10.5.0/3'", "TZ: ''"])
    assert.deepEqual(
      (await withEnvironment(plain)).files.map(({ path }) => path),
      ['/program'],
      plain,
    );
  await assert.rejects(
    withEnvironment('TZ: Mars/Base'),
    /the time zone Mars\/Base does not exist \(box -> TZ=Mars\/Base\)/,
  );
  await assert.rejects(withEnvironment('TZ: ../../etc/passwd'), /the time zone \.\.\/\.\.\/etc\/passwd does not exist/);
  await withEnvironment('TZ: Mars/Base', ', dependencies: {timeZone: false}');
});
