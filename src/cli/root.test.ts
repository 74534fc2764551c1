import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const HOME = join(import.meta.dirname, '..', '..');
const NOBODY = 65_534;
const asNobody = process.geteuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

function comicran(line: string, as: { uid?: number; gid?: number } = asNobody) {
  return spawnSync(join(HOME, 'bin/comicran'), line.split(' '), { encoding: 'utf8', ...as });
}

const unreadable = comicran('--version').status === 0 ? false : 'needs a checkout that everybody may read';

test('without root, what needs it is one sentence and the next step, before anything is made', {
  skip: unreadable,
}, () => {
  for (const line of ['jailor clean', 'pki init /etc/comicran-none --vm a', 'demo', 'lab status', 'lab up']) {
    const { status, stdout, stderr } = comicran(line);
    assert.equal(status, 1, line);
    assert.equal(stdout, '', line);
    assert.match(stderr, /^comicran: [^\n]+\n {2}next: Run the same command as root, for example with sudo\.\n$/, line);
  }
});

test('without root, what does not need it does not ask for it', { skip: unreadable }, () => {
  assert.equal(comicran('jailor clean --help').status, 0);
  assert.doesNotMatch(comicran('configer /root/base.yaml').stderr, /as root/);
});

test('--version is the version of the package', () => {
  const { version } = JSON.parse(readFileSync(join(HOME, 'package.json'), 'utf8')) as { version: string };
  const { status, stdout } = comicran('--version', {});
  assert.deepEqual({ status, stdout }, { status: 0, stdout: `${version}\n` });
});

test('the help of every command has an example', () => {
  const lines = ['lab up', 'lab down', 'lab exec', 'lab env', 'lab status', 'jailor run', 'jailor clean', 'server'];
  for (const line of [...lines, 'configer', 'client', 'sdaemon', 'pki init', 'pki add-vm', 'pki show']) {
    assert.match(comicran(`${line} --help`, {}).stdout, /\nExamples?:\n {2}/, line);
  }
});
