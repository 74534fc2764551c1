/** `comicran configer` as a person runs it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseFullConfig } from '../../src/base/full-config.ts';
import { buildElf } from '../support/elf-builder.ts';
import { fileTree } from '../support/file-tree.ts';

const home = join(import.meta.dirname, '..', '..');

function configer(...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(join(home, 'bin/comicran'), ['configer', ...words], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const BASE = 'id: box\nprocess: {executable: {source: server, path: /server}}\nnetwork: {address: 10.88.0.5}\n';
const newTree = () => fileTree({ 'base.yaml': BASE, server: buildElf({ static: true, type: 2 }) });

test('writes YAML to standard output, JSON on request, and nothing else', () => {
  using tree = newTree();
  const yaml = configer(tree.at('base.yaml'));
  const json = configer(tree.at('base.yaml'), '--json');
  assert.equal(yaml.status, 0);
  assert.equal(yaml.stderr, '');
  assert.match(yaml.stdout, /^# Written by comicran configer from base\.yaml/);
  assert.deepEqual(parseFullConfig(yaml.stdout, 'yaml'), parseFullConfig(json.stdout, 'json'));
  assert.doesNotThrow(() => void JSON.parse(json.stdout));
});

test('writes a file, in JSON where its name says so, and says nothing', () => {
  using tree = newTree();
  for (const name of ['full.yaml', 'full.json']) {
    assert.deepEqual(configer(tree.at('base.yaml'), '-o', tree.at(name)), { status: 0, stdout: '', stderr: '' });
  }
  assert.match(readFileSync(tree.at('full.yaml'), 'utf8'), /^# Written/);
  assert.match(readFileSync(tree.at('full.json'), 'utf8'), /^\{\n/);
});

test('relative sources start at the configuration file, wherever the command is run', () => {
  using tree = newTree();
  const { stdout } = configer(tree.at('base.yaml'), '--json');
  assert.equal(parseFullConfig(stdout, 'x').files.find(({ path }) => path === '/server')?.source, tree.at('server'));
});

test('- is standard input, and relative sources start at the working directory', () => {
  using tree = newTree();
  const run = (input: string) =>
    spawnSync(join(home, 'bin/comicran'), ['configer', '-'], { encoding: 'utf8', cwd: tree.root, input });
  const { status, stdout, stderr } = run(BASE);
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  assert.match(stdout, /^# Written by comicran configer from standard input/);
  assert.equal(parseFullConfig(stdout, 'x').files.find(({ path }) => path === '/server')?.source, tree.at('server'));
  assert.match(
    run('id: [').stderr,
    /^comicran: standard input is not a base configuration:\n {2}standard input:1:\d+: /,
  );
});

test('problems stand in the order of the text', () => {
  using tree = newTree();
  tree.add({ 'bad.yaml': `wrong: 1\n${BASE.replace('box', 'BOX!')}${'\n'.repeat(7)}other: 2\nwritable: 5\n` });
  const places = [...configer(tree.at('bad.yaml')).stderr.matchAll(/bad\.yaml:(\d+):/g)].map(([, line]) =>
    Number(line),
  );
  assert.ok(places.length === 4);
  assert.deepEqual(places, [1, 2, 12, 13]);
});

test('a failure is one message with the next step, exit code 1, and leaves no file', () => {
  using tree = newTree();
  tree.add({ 'bad.yaml': BASE.replace('server,', 'none,'), 'worse.yaml': 'id: [', 'binary.yaml': Buffer.from([0xff]) });
  const out = tree.at('out.yaml');
  const bad = configer(tree.at('bad.yaml'), '-o', out);
  assert.equal(bad.status, 1);
  assert.match(bad.stderr, /^comicran: .*none: it does not exist \(box -> \/server\)\n[\s\S]* {2}next: Install/);
  assert.match(configer(tree.at('worse.yaml'), '-o', out).stderr, /worse\.yaml:1:\d+: /);
  assert.match(configer(tree.at('binary.yaml')).stderr, /is not text in UTF-8/);
  assert.match(configer(tree.at('nothing.yaml')).stderr, /nothing\.yaml does not exist/);
  assert.match(configer(tree.root).stderr, /cannot be read: EISDIR/);
  assert.match(configer(tree.at('base.yaml'), '-o', tree.at('no/such/dir')).stderr, /cannot be written: ENOENT/);
  assert.match(configer(tree.at('base.yaml'), '-o', tree.at('base.yaml')).stderr, /is the base configuration itself/);
  assert.equal(existsSync(out), false);
  assert.equal(readFileSync(tree.at('base.yaml'), 'utf8'), BASE);
});

test('a file without an end is read as far as a configuration can reach', () => {
  using tree = newTree();
  assert.match(configer('/dev/zero').stderr, /^comicran: \/dev\/zero:1:1: it is longer than 262144 bytes\n {2}next: /);
  tree.add({ 'long.yaml': '#'.repeat(300_000) });
  assert.match(configer(tree.at('long.yaml')).stderr, /long\.yaml:1:1: it is longer than/);
});

test('the help has examples', () => {
  const { status, stdout } = configer('--help');
  assert.equal(status, 0);
  assert.match(stdout, /Examples:\n {2}comicran configer examples\/square\.yaml -o/);
});
