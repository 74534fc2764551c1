import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { refusal, refusalToActFor } from './authorisation.ts';
import { parseEndpoint } from './endpoint.ts';
import { isVmName, type Peer, parsePeerName, peerName, peerOfShortName, shortName } from './names.ts';

const SDN: Peer = { role: 'sdn' };
const SMANAGER: Peer = { role: 'smanager' };
const VM1: Peer = { role: 'sdaemon', vm: 'vm1' };

test('a name leads back to its peer', () => {
  for (const peer of [SDN, SMANAGER, VM1]) {
    assert.deepEqual(parsePeerName(peerName(peer)), peer);
    assert.deepEqual(peerOfShortName(shortName(peer)), peer);
  }
  assert.equal(peerName(VM1), 'vm1.sdaemon.comicran');
});

test('what is not exactly a name of this project stands for nobody', () => {
  const strangers = ['', 'sdn', 'sdn.comicran.', 'evil.sdn.comicran', '.sdaemon.comicran', 'a.b.sdaemon.comicran'];
  for (const name of [...strangers, '*.sdaemon.comicran', 'SDN.comicran', 'sdn.sdaemon.comicran']) {
    assert.equal(parsePeerName(name), undefined, name);
  }
  fc.assert(fc.property(fc.string(), (text) => parsePeerName(text) === undefined));
});

test('names that clash with files of a directory of certificates are no names of machines', () => {
  assert.ok(isVmName('vm1') && isVmName('a') && isVmName('rack-3-7'));
  for (const name of ['ca', 'sdn', 'smanager', '', '-a', 'a-', 'a.b', '../x', 'A']) assert.ok(!isVmName(name), name);
});

test('who may call what', () => {
  const table: [Peer, string, string, boolean][] = [
    [SMANAGER, 'Sdaemon', 'Start', true],
    [SMANAGER, 'Sdn', 'SetService', true],
    [VM1, 'Sdn', 'SetOwner', true],
    [VM1, 'Sdaemon', 'Info', true],
    [VM1, 'Sdaemon', 'PrepareMigration', true],
    [VM1, 'Sdaemon', 'DiscardMigration', true],
    [VM1, 'Sdaemon', 'Start', false],
    [VM1, 'Sdaemon', 'Terminate', false],
    [VM1, 'Sdaemon', 'Migrate', false],
    [VM1, 'Other', 'Info', false],
    [SDN, 'Sdaemon', 'Info', false],
    [SDN, 'Sdn', 'Claim', false],
  ];
  for (const [peer, service, method, allowed] of table) {
    assert.equal(refusal(peer, service, method) === undefined, allowed, `${peerName(peer)} ${service}.${method}`);
  }
});

test('an sdaemon acts in its own name alone', () => {
  assert.equal(refusalToActFor(VM1, 'vm1'), undefined);
  assert.equal(refusalToActFor(SMANAGER, 'vm1'), undefined);
  assert.match(refusalToActFor(VM1, 'vm2') ?? '', /may not act in the name of vm2/);
  assert.notEqual(refusalToActFor(SDN, 'vm1'), undefined);
});

test('an endpoint is an IPv4 address and a port', () => {
  assert.deepEqual(parseEndpoint('10.77.0.2:7420'), { address: '10.77.0.2', port: 7420 });
  for (const text of ['', '10.77.0.2', ':1', 'host:1', '10.77.0.2:', '10.77.0.2:65536', '10.77.0.2:1x', '1.2.3:4']) {
    assert.throws(() => parseEndpoint(text), { code: 'usage' }, text);
  }
});
