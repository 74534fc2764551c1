import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { buildElf } from '../../test/support/elf-builder.ts';
import { type FileTree, fileTree } from '../../test/support/file-tree.ts';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { parseBaseConfig } from './base-config.ts';
import { formatJson, formatYaml } from './format.ts';
import { emptyLdCache } from './ld-cache.ts';
import { type Progress, resolveConfig } from './resolve.ts';

const STATIC = buildElf({ static: true, type: 2 });

/** Resolves a base configuration in which T stands for the tree's root; a static `bin/server` is there. */
async function resolve(tree: FileTree, text: string, onProgress?: (progress: Progress) => void): Promise<FullConfig> {
  const base = parseBaseConfig(
    `{id: box, network: {address: 10.88.0.5}, ${text.replaceAll('T/', `${tree.root}/`)}}`,
    'b',
  );
  return resolveConfig(base, {
    directory: tree.root,
    facts: {
      cache: emptyLdCache(),
      defaultDirectories: { 'x86-64': [tree.at('default')], i386: [] },
      lib: { 'x86-64': 'lib', i386: 'lib' },
    },
    share: tree.at('share'),
    ...(onProgress === undefined ? {} : { onProgress }),
  });
}

async function refusal(tree: FileTree, text: string): Promise<ComicranError> {
  try {
    await resolve(tree, text);
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, `${thrown instanceof Error ? thrown.stack : thrown}`);
    assert.ok(thrown.hint !== undefined);
    return thrown;
  }
  return assert.fail('accepted');
}

const SERVER = 'etc: none, process: {executable: {source: bin/server, path: /server}}';

/** What is where, in a few words; what is at a path of the tree's own without its root. */
function outline(config: FullConfig, tree: FileTree): string[] {
  const short = (path: string): string => path.replace(tree.root, 'T');
  return [
    ...config.files.map(({ path, source, mode }) => `${short(path)} = ${short(source)} ${mode.toString(8)}`),
    ...config.symlinks.map(({ path, target }) => `${short(path)} -> ${short(target)}`),
    ...config.directories
      .filter(({ path }) => !tree.root.startsWith(path))
      .map(({ path, mode }) => `${short(path)}/ ${mode.toString(8)}`),
  ];
}

const newTree = (files: Parameters<typeof fileTree>[0] = {}): FileTree => fileTree({ 'bin/server': STATIC, ...files });

test('a static executable is one file with its hash, and the configuration is one that jailor takes', async () => {
  using tree = newTree();
  const config = await resolve(tree, SERVER);
  const sha256 = createHash('sha256').update(STATIC).digest('hex');
  assert.deepEqual(config, {
    version: 1,
    id: 'box',
    process: { executable: '/server', arguments: [], environment: {}, workingDirectory: '/' },
    network: { address: '10.88.0.5', ports: [] },
    files: [
      {
        path: '/server',
        source: tree.at('bin/server'),
        sha256,
        size: STATIC.length,
        mode: 0o755,
        why: 'configuration: process.executable',
      },
    ],
    symlinks: [],
    directories: [],
    writable: [],
  });
});

test('the same input gives the same bytes, and both texts are read back as what they were made of', async () => {
  using tree = newTree({ 'data/b': 'b', 'data/a': 'a', 'data/sub/c': { link: '../a' } });
  const text = `${SERVER}, writable: [/run, /scratch], root: /var/x, files: [T/data, {source: data, path: /srv}]`;
  const [first, second] = [await resolve(tree, text), await resolve(tree, text)];
  assert.equal(await formatYaml(first, 'b'), await formatYaml(second, 'b'));
  assert.equal(formatJson(first), formatJson(second));
  assert.deepEqual(parseFullConfig(await formatYaml(first, 'b'), 'full.yaml'), first);
  assert.deepEqual(parseFullConfig(formatJson(first), 'full.json'), first);
});

test('a path of the host comes with every link on the way to it', async () => {
  using tree = newTree({
    'real/dir/file.1.2': 'x',
    'real/dir/file.1': { link: 'file.1.2' },
    merged: { link: 'real' },
    'real/dir/file': { link: '../../merged/dir/file.1' },
  });
  assert.deepEqual(outline(await resolve(tree, `${SERVER}, files: [T/merged/dir/file]`), tree), [
    '/server = T/bin/server 755',
    'T/real/dir/file.1.2 = T/real/dir/file.1.2 644',
    'T/merged -> real',
    'T/real/dir/file -> ../../merged/dir/file.1',
    'T/real/dir/file.1 -> file.1.2',
    'T/real/ 755',
    'T/real/dir/ 755',
  ]);
});

test('an absolute link in a chain leads from the root', async () => {
  using tree = newTree({ 'b/file': 'x' });
  tree.add({ 'a/link': { link: tree.at('b/file') } });
  assert.deepEqual(outline(await resolve(tree, `${SERVER}, files: [T/a/link]`), tree).slice(1), [
    'T/b/file = T/b/file 644',
    'T/a/link -> T/b/file',
    'T/a/ 755',
    'T/b/ 755',
  ]);
});

test('a directory is copied whole, links kept where they stay inside', async () => {
  using tree = newTree({
    'app/main.js': '1',
    'app/sub/tool': '#!/bin/sh\n',
    'app/sub/main': { link: '../main.js' },
    'app/dangling': { link: 'nothing' },
    'app/outside': { link: '../other/file' },
    'other/file': 'other',
  });
  chmodSync(tree.at('app/sub'), 0o750);
  chmodSync(tree.at('app/main.js'), 0o4600);
  const copied = ['main.js = T/app/main.js 600', 'sub/tool = T/app/sub/tool 755'];
  assert.deepEqual(outline(await resolve(tree, `${SERVER}, files: [{source: ./app, path: /srv/app}]`), tree), [
    '/server = T/bin/server 755',
    `/srv/app/${copied[0]}`,
    '/srv/app/outside = T/other/file 644',
    `/srv/app/${copied[1]}`,
    '/srv/app/dangling -> nothing',
    '/srv/app/sub/main -> ../main.js',
    '/srv/ 755',
    '/srv/app/ 755',
    '/srv/app/sub/ 750',
  ]);
  assert.deepEqual(outline(await resolve(tree, `${SERVER}, files: [T/app]`), tree).slice(1), [
    ...copied.map((line) => `T/app/${line}`),
    'T/other/file = T/other/file 644',
    'T/app/dangling -> nothing',
    'T/app/outside -> ../other/file',
    'T/app/sub/main -> ../main.js',
    'T/app/ 755',
    'T/app/sub/ 750',
    'T/other/ 755',
  ]);
});

test('a link to a directory is kept where that is copied too, and refused by name where it is not', async () => {
  using tree = newTree({ 'a/x': 'x', 'a/b': { link: '../b' }, 'b/y': 'y' });
  const { symlinks, files } = await resolve(tree, `${SERVER}, files: [T/a, T/b]`);
  assert.deepEqual(symlinks, [{ path: tree.at('a/b'), target: '../b', why: 'configuration: files' }]);
  assert.equal(files.length, 3);
  for (const files of ['T/a', '{source: a, path: /a}']) {
    const error = await refusal(tree, `${SERVER}, files: [${files}]`);
    assert.equal(error.code, 'config.bad-path');
    assert.match(error.message, /a\/b: it is a link to .*\/b, which is not a file and not in a copied directory/);
  }
});

test('what the configuration says of a mode is what it is', async () => {
  using tree = newTree({ 'data/secret': 's' });
  const config = await resolve(
    tree,
    `${SERVER}, files: [T/data/secret, {source: T/data/secret, mode: '0400'}, {source: data/secret, path: /s, mode: '4711'}],
     directories: [/var/spool, {path: T/data, mode: '0700'}]`,
  );
  assert.deepEqual(
    outline(config, tree),
    [
      '/s = T/data/secret 4711',
      '/server = T/bin/server 755',
      'T/data/secret = T/data/secret 400',
      '/var/ 755',
      '/var/spool/ 755',
      'T/data/ 700',
    ].toSorted((a, b) => outline(config, tree).indexOf(a) - outline(config, tree).indexOf(b)),
  );
});

test('the working directory is there, also where nothing is in it; not where it is writable', async () => {
  using tree = newTree();
  const text = (more: string): string => `${SERVER.slice(0, -1)}, workingDirectory: /srv/work}, ${more}`;
  assert.deepEqual(
    (await resolve(tree, text('writable: []'))).directories.map(({ path }) => path),
    ['/srv', '/srv/work'],
  );
  assert.deepEqual((await resolve(tree, text('writable: [/srv]'))).directories, []);
});

test('a path of the configuration below a link of the host goes to where the link leads', async () => {
  using tree = newTree({ 'usr/lib/x': 'x', lib: { link: 'usr/lib' } });
  const config = await resolve(tree, `${SERVER}, files: [T/lib/x, {source: bin/server, path: T/lib/y}]`);
  assert.ok(config.files.some(({ path }) => path === tree.at('usr/lib/y')));
});

test('a path may lie below a link of the configuration, for the program and what it needs too', async () => {
  using tree = newTree({
    'bin/server': buildElf({ needed: ['a.so'], runpath: '$ORIGIN/../lib' }),
    'my/a': buildElf({}),
  });
  const config = await resolve(
    tree,
    `etc: none, process: {executable: {source: bin/server, path: /app/bin/server}},
     symlinks: [{path: /app, target: opt/v1}], files: [{source: my/a, path: /app/lib/a.so}]`,
  );
  assert.deepEqual(outline(config, tree), [
    '/opt/v1/bin/server = T/bin/server 755',
    '/opt/v1/lib/a.so = T/my/a 755',
    '/app -> opt/v1',
    '/opt/ 755',
    '/opt/v1/ 755',
    '/opt/v1/bin/ 755',
    '/opt/v1/lib/ 755',
  ]);
});

test('the mode of an executable can be given where it keeps its place', async () => {
  using tree = newTree();
  const config = await resolve(tree, "etc: none, process: {executable: {source: T/bin/server, mode: '0500'}}");
  assert.deepEqual(outline(config, tree)[0], 'T/bin/server = T/bin/server 500');
});

test('etc: minimal gives what the configuration has not itself', async () => {
  using tree = newTree({
    'share/etc/passwd': 'root',
    'share/etc/group': 'root',
    'share/etc/hosts': 'localhost',
    'share/etc/nsswitch.conf': 'files',
    'my/hosts': 'mine',
  });
  const config = await resolve(
    tree,
    'process: {executable: {source: bin/server, path: /server}}, files: [{source: my/hosts, path: /etc/hosts}]',
  );
  assert.deepEqual(outline(config, tree), [
    '/etc/group = T/share/etc/group 644',
    '/etc/hosts = T/my/hosts 644',
    '/etc/nsswitch.conf = T/share/etc/nsswitch.conf 644',
    '/etc/passwd = T/share/etc/passwd 644',
    '/server = T/bin/server 755',
    '/etc/ 755',
  ]);
});

test('a C library that loads its name services by name brings them, a later one has them built in', async () => {
  for (const builtIn of [false, true]) {
    using tree = newTree({
      'bin/server': buildElf({ needed: ['libc.so.6'] }),
      'default/libc.so.6': buildElf({
        soname: 'libc.so.6',
        strings: ['GLIBC_2.2', ...(builtIn ? ['GLIBC_2.34'] : [])],
      }),
      'default/libnss_files.so.2': buildElf({ needed: ['libc.so.6'] }),
      'default/libnss_dns.so.2': buildElf({ needed: ['libresolv.so.2'] }),
      'default/libresolv.so.2': buildElf({}),
    });
    const names = (await resolve(tree, SERVER)).files.map(({ path }) => path.replace(/.*\//, ''));
    const services = ['libnss_dns.so.2', 'libnss_files.so.2', 'libresolv.so.2'];
    assert.deepEqual(names.toSorted(), ['libc.so.6', ...(builtIn ? [] : services), 'server'].toSorted());
  }
});

test('progress counts every byte of every file once', async () => {
  using tree = newTree({ big: Buffer.alloc(3_000_000, 1) });
  const seen: Progress[] = [];
  await resolve(tree, `${SERVER}, files: [T/big, {source: big, path: /again}]`, (progress) => void seen.push(progress));
  const total = 3_000_000 + STATIC.length;
  assert.ok(seen.length >= 4);
  assert.ok(seen.every(({ totalBytes }) => totalBytes === total));
  assert.equal(seen.at(-1)!.doneBytes, total);
});

const REFUSED: readonly [string, string, string, RegExp][] = [
  [
    'a missing executable',
    'process: {executable: /nowhere/x}',
    'config.missing-file',
    /^\/nowhere\/x: it does not exist \(box -> \/nowhere\/x\)/,
  ],
  ['a missing file', `${SERVER}, files: [T/none]`, 'config.missing-file', /none: it does not exist \(box -> .*none\)/],
  [
    'a missing source',
    `${SERVER}, files: [{source: none, path: /x}]`,
    'config.missing-file',
    /none: it does not exist \(box -> \/x\)/,
  ],
  [
    'a dangling link',
    `${SERVER}, files: [T/dangling]`,
    'config.missing-file',
    /T\/gone: it does not exist \(box -> T\/dangling -> T\/gone\)/,
  ],
  [
    'a loop of links',
    `${SERVER}, files: [T/loop]`,
    'config.symlink-loop',
    /loop: its symbolic links form a loop \(box -> .*loop\)/,
  ],
  ['a loop with a path of its own', `${SERVER}, files: [{source: loop, path: /x}]`, 'config.symlink-loop', /loop/],
  ['a loop in a directory', `${SERVER}, files: [{source: loops, path: /x}]`, 'config.symlink-loop', /loops\/a/],
  [
    'a path below a file',
    `${SERVER}, files: [T/file/below]`,
    'config.missing-file',
    /below something that is not a directory/,
  ],
  ['a named pipe', `${SERVER}, files: [T/pipe]`, 'config.bad-path', /pipe: it is a named pipe, not a file/],
  ['a named pipe in a directory', `${SERVER}, files: [T/pipes]`, 'config.bad-path', /pipes\/p: it is a named pipe/],
  ['a named pipe as the executable', 'process: {executable: T/pipe}', 'config.bad-path', /pipe/],
  ['a directory as the executable', 'process: {executable: T/bin}', 'config.bad-path', /it is a directory/],
  [
    'a mode for a directory',
    `${SERVER}, files: [{source: T/bin, mode: '0755'}]`,
    'config.bad-path',
    /a mode can be given to a file alone/,
  ],
  [
    'a file in /proc',
    `${SERVER}, files: [/proc/version]`,
    'config.bad-path',
    /\/proc\/version.* of its own|\/proc cannot be placed/,
  ],
  ['a device', `${SERVER}, files: [/dev/null]`, 'config.bad-path', /\/dev/],
  [
    'two files at one path',
    `${SERVER}, files: [{source: file, path: /x}, {source: bin/server, path: /x}]`,
    'config.bad-path',
    /\/x would be the file T\/file \(box -> \/x\) and the file T\/bin\/server/,
  ],
  [
    'a file below a file',
    `${SERVER}, files: [{source: file, path: /server/x}]`,
    'config.bad-path',
    /\/server\/x cannot lie below \/server/,
  ],
  [
    'a writable path that hides a file',
    `${SERVER}, files: [{source: file, path: /srv/x}], writable: [/srv]`,
    'config.bad-path',
    /files\.path: \/srv\/x: not below \/srv, which is an empty writable directory/,
  ],
  [
    'an executable without x',
    'etc: none, process: {executable: {source: bin/server, path: /s, mode: 0644}}',
    'config.bad-path',
    /process\.executable: \/s: an executable file; its mode has no x/,
  ],
  ['a whole file system', `${SERVER}, files: [/]`, 'config.bad-path', /\/dev|\/proc|\/boot|is a link to/],
];
for (const [name, text, code, message] of REFUSED) {
  test(`refused: ${name}`, async () => {
    using tree = newTree({
      file: 'x',
      dangling: { link: 'gone' },
      loop: { link: 'loop2' },
      loop2: { link: 'loop' },
      'loops/a': { link: 'a' },
      'pipes/x': '',
    });
    execFileSync('mkfifo', [tree.at('pipe'), tree.at('pipes/p')]);
    const error = await refusal(tree, text);
    assert.equal(error.code, code, error.message);
    assert.match(error.message.replaceAll(tree.root, 'T'), message);
  });
}

test('refused: a socket', async () => {
  using tree = newTree();
  const server = createServer();
  await new Promise<void>((done) => void server.listen(tree.at('socket'), done));
  try {
    const error = await refusal(tree, `${SERVER}, files: [T/socket]`);
    assert.match(error.message, /it is a socket/);
  } finally {
    server.close();
  }
});

test('nothing of the host is changed, and what is hashed is what is there', async () => {
  using tree = newTree({ 'data/a': 'a' });
  const before = readFileSync(tree.at('data/a'), 'utf8');
  const { files } = await resolve(tree, `${SERVER}, files: [T/data]`);
  assert.equal(readFileSync(tree.at('data/a'), 'utf8'), before);
  assert.equal(files.find(({ path }) => path.endsWith('/a'))?.sha256, createHash('sha256').update('a').digest('hex'));
});
