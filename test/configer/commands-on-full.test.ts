/** `configer tree`, `diff` and `check` on full configurations. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseFullConfig } from '../../src/base/full-config.ts';
import { differences } from '../../src/configer/compare.ts';
import { buildElf } from '../support/elf-builder.ts';
import { type FileTree, fileTree } from '../support/file-tree.ts';

const home = join(import.meta.dirname, '../..');

function configer(...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(join(home, 'bin/comicran'), ['configer', ...words], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** A program with a chain of two libraries, resolved to full.yaml. */
function resolved(): FileTree {
  const tree = fileTree({
    'base.yaml': `id: box
process: {executable: {source: program, path: /program}}
network: {address: 10.88.0.5, ports: [{port: 7, service: 7}]}
files: [{source: data, path: /data}]
etc: none
`,
    data: 'data',
    'liba.so': buildElf({ needed: ['libb.so'], runpath: '$ORIGIN' }),
    'libb.so': buildElf({}),
  });
  tree.add({ program: buildElf({ needed: ['liba.so'], rpath: tree.root }) });
  assert.equal(configer(tree.at('base.yaml'), '-o', tree.at('full.yaml')).status, 0);
  return tree;
}

test('tree: what has brought what, with sizes, as text and as JSON', () => {
  using tree = resolved();
  const text = configer('tree', tree.at('full.yaml'))
    .stdout.replaceAll(tree.root, 'T')
    .replaceAll(/[\d.]+ K?i?B/g, 'N B');
  assert.deepEqual(text.split('\n'), [
    'box  (4 files, N B)',
    '├── files  (1 file, N B)',
    '│   └── /data  N B',
    '└── process.executable  (3 files, N B)',
    '    └── /program  N B  (3 files, N B)',
    '        └── T/liba.so  N B  library  (2 files, N B)',
    '            └── T/libb.so  N B  library',
    '',
  ]);
  const top = JSON.parse(configer('tree', tree.at('full.yaml'), '--json').stdout) as {
    files: number;
    totalBytes: number;
  };
  const { files } = parseFullConfig(readFileSync(tree.at('full.yaml'), 'utf8'), 'x');
  assert.equal(top.files, files.length);
  assert.equal(
    top.totalBytes,
    files.reduce((sum, { size }) => sum + size, 0),
  );
});

test('tree: files that need each other, in a configuration made by hand, end', () => {
  using tree = resolved();
  const text = readFileSync(tree.at('full.yaml'), 'utf8').replaceAll(
    /why: "?library: .*/g,
    `why: "library: ${tree.root}/libb.so"`,
  );
  writeFileSync(tree.at('hand.yaml'), text);
  assert.match(configer('tree', tree.at('hand.yaml')).stdout, /^box {2}\(4 files/);
});

test('diff: nothing, then each thing that differs; exit code 1 with a difference', () => {
  using tree = resolved();
  assert.deepEqual(configer('diff', tree.at('full.yaml'), tree.at('full.yaml')), { status: 0, stdout: '', stderr: '' });
  tree.add({
    data: 'other data',
    'base.yaml':
      readFileSync(tree.at('base.yaml'), 'utf8').replace('port: 7,', 'port: 8,') +
      'symlinks: [{path: /l, target: data}]\n',
  });
  configer(tree.at('base.yaml'), '-o', tree.at('new.json'));
  const { status, stdout } = configer('diff', tree.at('full.yaml'), tree.at('new.json'));
  assert.deepEqual(stdout.split('\n'), [
    '~ key network.ports[0].port (7 -> 8)',
    '~ file /data (content, 4 B -> 10 B)',
    '+ link /l (leads to data)',
    '',
  ]);
  assert.equal(status, 1);
  const json: unknown = JSON.parse(configer('diff', tree.at('full.yaml'), tree.at('new.json'), '--json').stdout);
  const [a, b] = ['full.yaml', 'new.json'].map((name) => parseFullConfig(readFileSync(tree.at(name), 'utf8'), name));
  assert.deepEqual(json, differences(a!, b!));
});

test('check: complete, then changed, gone, and in need of something that the sandbox has not', () => {
  using tree = resolved();
  const check = () => {
    const { status, stdout } = configer('check', tree.at('full.yaml'));
    return { status, lines: stdout.replaceAll(tree.root, 'T').trim().split('\n') };
  };
  assert.deepEqual(check(), { status: 0, lines: ['T/full.yaml: complete; 4 files are as they were'] });
  tree.add({ data: 'atad' });
  rmSync(tree.at('libb.so'));
  const { status, lines } = check();
  assert.equal(status, 1);
  assert.equal(lines[0], 'T/full.yaml: /data has changed: T/data has other content of the same size');
  assert.ok(lines.includes('T/full.yaml: T/libb.so is gone: T/libb.so does not exist'));
});

test('check: a library that the sandbox has not is named with what needs it', () => {
  using tree = resolved();
  const config = JSON.parse(configer(tree.at('base.yaml'), '--json').stdout) as { files: { path: string }[] };
  config.files = config.files.filter(({ path }) => path !== tree.at('libb.so'));
  writeFileSync(tree.at('less.json'), JSON.stringify(config));
  const { stdout } = configer('check', tree.at('less.json'));
  const { root } = tree;
  assert.equal(stdout, `${root}/less.json: ${root}/libb.so is needed by ${root}/liba.so and not in the sandbox\n`);
});

test('check: two sandboxes with one id, address or service port', () => {
  using tree = resolved();
  configer(tree.at('base.yaml'), '-o', tree.at('twin.yaml'));
  const { status, stdout } = configer('check', tree.at('full.yaml'), tree.at('twin.yaml'));
  assert.equal(status, 1);
  assert.deepEqual(stdout.replaceAll(tree.root, 'T').trim().split('\n'), [
    'T/full.yaml: complete; 4 files are as they were',
    'T/twin.yaml: has the id box of T/full.yaml',
    'T/twin.yaml: has the address 10.88.0.5 of T/full.yaml',
    'T/twin.yaml: has the service port 7/udp of T/full.yaml',
  ]);
});
