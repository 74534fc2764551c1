/** The examples are resolved by the command, laid out in a directory, and run there with nothing else around them. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseFullConfig } from '../../src/base/full-config.ts';
import type { FullConfig } from '../../src/base/sandbox-config.ts';
import { type FileTree, fileTree } from '../support/file-tree.ts';
import { needs } from '../support/needs.ts';

const home = join(import.meta.dirname, '..', '..');

function configer(...words: readonly string[]) {
  return spawnSync(join(home, 'bin/comicran'), ['configer', ...words], { encoding: 'utf8', cwd: home });
}

function resolveExample(name: string, tree: FileTree): FullConfig {
  const output = tree.at(`${name}.full.yaml`);
  const { status, stderr } = configer(`examples/${name}.yaml`, '-o', output);
  assert.equal(status, 0, stderr);
  return parseFullConfig(readFileSync(output, 'utf8'), output);
}

/** What jailor does, without its store: a small /dev, then directories, files, links, in this order. */
function layOut(config: FullConfig, root: string): void {
  mkdirSync(join(root, 'dev'), { recursive: true });
  for (const [name, minor] of [
    ['null', '3'],
    ['urandom', '9'],
  ] as const) {
    execFileSync('mknod', ['-m', '0666', join(root, 'dev', name), 'c', '1', minor]);
  }
  for (const { path, mode } of config.directories) mkdirSync(join(root, path), { mode });
  for (const { path, source, mode } of config.files) {
    copyFileSync(source, join(root, path), constants.COPYFILE_FICLONE);
    chmodSync(join(root, path), mode);
  }
  for (const { path, target } of config.symlinks) symlinkSync(target, join(root, path));
}

function runInRoot(config: FullConfig, tree: FileTree, port: number, datagrams: readonly Buffer[]): Buffer[] {
  const root = tree.at('root');
  layOut(config, root);
  const words = datagrams.map((datagram) => datagram.toString('hex'));
  const done = spawnSync(
    'unshare',
    [
      '--net',
      '--',
      process.execPath,
      join(import.meta.dirname, 'in-root.ts'),
      root,
      JSON.stringify(config),
      `${port}`,
      ...words,
    ],
    { encoding: 'utf8' },
  );
  assert.equal(done.status, 0, done.stderr);
  const { answers, said } = JSON.parse(done.stdout) as { answers: string[]; said: string };
  assert.equal(answers.length, datagrams.length, `answers ${answers.length}; the program says: ${said}`);
  return answers.map((answer) => Buffer.from(answer, 'hex'));
}

/** A question of type A (RFC 1035, section 4.1). */
function dnsQuestion(id: number, name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  const header = Buffer.from([id >> 8, id & 0xff, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

test('square.yaml: the counting server runs with what was found, and counts', {
  skip: needs('root', 'unshare', 'ip'),
}, (t) => {
  assert.ok(existsSync(join(home, 'dist/traffic/server/main.js')), 'the build is missing: npm run build');
  using tree = fileTree();
  const config = resolveExample('square', tree);
  const answers = runInRoot(
    config,
    tree,
    5006,
    ['12', '-7', 'x'].map((text) => Buffer.from(text)),
  );
  const [first, second, third] = answers.map(String);
  // Requests are sent again until one is answered, so the count may be ahead of the answers.
  assert.match(first!, /^144 \d+$/);
  assert.match(second!, /^49 \d+$/);
  assert.match(third!, /^error: /);
  t.diagnostic(`${config.files.length} files, ${config.symlinks.length} links`);
});

test('socat-echo.yaml: a C program of Debian echoes', { skip: needs('root', 'unshare', 'ip', 'socat') }, () => {
  using tree = fileTree();
  const config = resolveExample('socat-echo', tree);
  const port = config.network.ports[0]!.port;
  const answers = runInRoot(config, tree, port, [Buffer.from('hello'), Buffer.from('again')]);
  assert.deepEqual(answers.map(String), ['hello', 'again']);
});

test('dnsmasq.yaml: a name server of Debian answers', { skip: needs('root', 'unshare', 'ip', 'dnsmasq') }, () => {
  using tree = fileTree();
  const config = resolveExample('dnsmasq', tree);
  const [answer] = runInRoot(config, tree, 5353, [dnsQuestion(7, 'square.comicran.example')]);
  assert.deepEqual([...answer!.subarray(0, 2)], [0, 7]);
  assert.equal(answer!.readUInt16BE(6), 1, 'one answer');
  assert.deepEqual([...answer!.subarray(-4)], [10, 88, 0, 5]);
});

test('a script with its interpreter runs in its root', { skip: needs('root', 'chroot') }, () => {
  using tree = fileTree({
    'tool.sh': '#!/usr/bin/env sh\ncat /etc/hosts && echo "$1"\n',
    'base.yaml':
      'id: tool\nprocess: {executable: {source: tool.sh, path: /bin/tool}, arguments: [done]}\n' +
      'network: {address: 10.88.0.9}\nexecutables: [/bin/cat]\n',
  });
  const { status, stdout, stderr } = configer(tree.at('base.yaml'), '--json');
  assert.equal(status, 0, stderr);
  const config = parseFullConfig(stdout, 'stdout');
  layOut(config, tree.at('root'));
  const done = spawnSync('chroot', [tree.at('root'), config.process.executable, 'done'], { encoding: 'utf8' });
  assert.equal(done.stdout, '127.0.0.1\tlocalhost\ndone\n', done.stderr);
});
