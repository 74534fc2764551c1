/** Certificates: what is made, what is refused, what openssl thinks of it. Needs no root. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { loadIdentity } from '../../src/api/identity.ts';
import { addVms, initPki } from '../../src/api/pki.ts';
import { listCertificates } from '../../src/api/pki-list.ts';
import { needs } from '../support/needs.ts';
import { failureOf, makePki, removeDirectory } from './support.ts';

const CLI = join(import.meta.dirname, '../../bin/comicran');
const directories: string[] = [];

async function pki(): Promise<string> {
  const directory = await makePki();
  directories.push(directory);
  return directory;
}

const comicran = (...words: string[]) => spawnSync(CLI, words, { encoding: 'utf8' });
const load = (directory: string, name: string, now?: Date) =>
  failureOf((async () => loadIdentity(directory, name, now))());

afterEach(() => {
  for (const directory of directories.splice(0)) removeDirectory(directory);
});

test('an authority and its members, keys for their owner alone', async () => {
  const directory = await pki();
  const names = ['ca', 'sdn', 'smanager', 'vm1', 'vm2'];
  assert.deepEqual(
    readdirSync(directory).toSorted(),
    names.flatMap((name) => [`${name}.key`, `${name}.pem`]).toSorted(),
  );
  for (const name of names) assert.equal(statSync(join(directory, `${name}.key`)).mode & 0o777, 0o600);
  for (const name of names.slice(1)) assert.ok(loadIdentity(directory, name).certificate.length > 0);
});

test('openssl accepts the chain for both directions', { skip: needs('openssl') }, async () => {
  const directory = await pki();
  for (const purpose of ['sslserver', 'sslclient']) {
    const verify = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', join(directory, 'ca.pem')];
    const done = spawnSync('openssl', [...verify, join(directory, 'vm1.pem')], { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
  }
});

test('an authority is not overwritten by accident', async () => {
  const directory = await pki();
  const before = readFileSync(join(directory, 'ca.pem'), 'utf8');
  assert.equal((await failureOf(initPki({ directory, vms: ['vm1'] }))).code, 'pki.invalid');
  assert.equal(readFileSync(join(directory, 'ca.pem'), 'utf8'), before);
  await initPki({ directory, vms: ['vm1'], force: true });
  assert.notEqual(readFileSync(join(directory, 'ca.pem'), 'utf8'), before);
  // vm2 was not asked for again: its certificate is of an authority that is gone.
  const vm2 = listCertificates(directory).find(({ name }) => name === 'vm2');
  assert.equal(vm2?.state, 'of another authority');
  assert.match((await load(directory, 'vm2')).message, /vm2\.pem is not signed by the authority/);
});

test('a machine can be added later', async () => {
  const directory = await pki();
  await addVms({ directory, vms: ['vm3'] });
  assert.deepEqual(loadIdentity(directory, 'vm3').peer, { role: 'sdaemon', vm: 'vm3' });
  assert.match((await failureOf(addVms({ directory, vms: ['vm3'] }))).message, /vm3 already/);
  rmSync(join(directory, 'ca.key'));
  assert.match((await failureOf(addVms({ directory, vms: ['vm4'] }))).message, /ca\.key cannot be read/);
});

test('names that are none are refused before anything is written', async () => {
  const directory = await pki();
  for (const vm of ['sdn', '../vm', 'Vm1', '']) {
    assert.equal((await failureOf(addVms({ directory, vms: [vm] }))).code, 'usage', vm);
  }
});

test('a damaged set is refused, naming the file', async () => {
  const damage: [RegExp, (directory: string) => void][] = [
    [/vm1\.pem cannot be read/, (d) => rmSync(join(d, 'vm1.pem'))],
    [/ca\.pem cannot be read/, (d) => rmSync(join(d, 'ca.pem'))],
    [/vm1\.key is not the key of/, (d) => copyFileSync(join(d, 'vm2.key'), join(d, 'vm1.key'))],
    [/vm1\.key is not the key of/, (d) => writeFileSync(join(d, 'vm1.key'), 'nonsense')],
    [/vm1\.pem is not a certificate/, (d) => writeFileSync(join(d, 'vm1.pem'), 'nonsense')],
    [/vm1\.pem is for vm2\.sdaemon\.comicran, not/, (d) => copyFileSync(join(d, 'vm2.pem'), join(d, 'vm1.pem'))],
  ];
  for (const [message, apply] of damage) {
    const directory = await pki();
    apply(directory);
    const failure = await load(directory, 'vm1');
    assert.equal(failure.code, 'pki.invalid');
    assert.match(failure.message, message);
    assert.match(failure.hint ?? '', /comicran pki init/);
  }
});

test('time passes', async () => {
  const directory = await pki();
  const years = (count: number): Date => new Date(Date.now() + count * 365 * 86_400_000);
  assert.match((await load(directory, 'vm1', years(3))).message, /ca\.pem has expired on/);
  assert.match((await load(directory, 'vm1', years(-1))).message, /is not valid before .* clock/);
  assert.deepEqual(new Set(listCertificates(directory, years(3)).map(({ state }) => state)), new Set(['expired']));
});

test('the pki commands', async () => {
  const directory = join(await pki(), 'made-by-command');
  const made = comicran('pki', 'init', directory, '--vm', 'vm1', '--vm', 'vm2', '--valid-days', '10');
  assert.equal(made.status, 0, made.stderr);
  assert.equal(comicran('pki', 'add-vm', directory, 'vm3').status, 0);
  const shown: unknown = JSON.parse(comicran('pki', 'show', directory, '--json').stdout);
  assert.ok(Array.isArray(shown));
  assert.deepEqual(
    shown.map(({ name, state, dnsNames }) => [name, state, dnsNames]),
    [
      ['ca', 'valid', []],
      ['sdn', 'valid', ['sdn.comicran']],
      ['smanager', 'valid', ['smanager.comicran']],
      ...['vm1', 'vm2', 'vm3'].map((vm) => [vm, 'valid', [`${vm}.sdaemon.comicran`]]),
    ],
  );
  // A machine that is added later does not outlive the authority.
  assert.equal(shown[5].validTo, shown[0].validTo);
  assert.match(comicran('pki', 'show', directory).stdout, /^NAME +STATE +UNTIL +FOR\n/);

  const again = comicran('pki', 'init', directory);
  assert.equal(again.status, 1);
  assert.match(again.stderr, /has an authority already[\s\S]*next: .*add-vm/);
  assert.match(comicran('pki', 'init', directory, '--valid-days', '0').stderr, /--valid-days is '0'/);
  assert.match(comicran('pki', 'show', '/nonexistent').stderr, /\/nonexistent cannot be read/);
});
