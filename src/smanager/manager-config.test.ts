/** The file that says where the machines are, as somebody may have written it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { loadManagerConfig, parseManagerConfig } from './manager-config.ts';

const GOOD = {
  sdn: { endpoint: '10.77.0.1:7410' },
  vms: { vm1: { endpoint: '10.77.0.2:7420', address: '10.77.0.2' }, 'rack-2.vm': { endpoint: '10.77.0.3:7420' } },
  pki: '/etc/comicran/pki',
  netns: '/run/netns/cr-sdn',
};

function told(text: string): string {
  try {
    parseManagerConfig(text, 'manager.json');
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError && thrown.code === 'config.invalid', String(thrown));
    assert.ok(thrown.hint !== undefined);
    return thrown.message;
  }
  return '';
}

test('what lab up writes and an operator would', () => {
  assert.deepEqual(parseManagerConfig(JSON.stringify(GOOD), 'x'), GOOD);
});

test('one clear error each', () => {
  const vm = (value: unknown): unknown => ({ ...GOOD, vms: { vm1: value } });
  const cases: readonly [unknown, RegExp][] = [
    [{ ...GOOD, vmz: {} }, /vmz/],
    [{ ...GOOD, sdn: { endpoint: 'sdn' } }, /an IPv4 address and a port.*sdn\.endpoint/],
    [{ ...GOOD, sdn: { endpoint: '10.77.0.1:0' } }, /an IPv4 address and a port/],
    [{ ...GOOD, sdn: { endpoint: '10.77.0.1:65536' } }, /an IPv4 address and a port/],
    [vm({ endpoint: '10.77.0.2:7420', address: '10.77.0.256' }), /an IPv4 address.*vms\.vm1\.address/],
    [vm({ endpoint: '10.77.0.2:7420', adress: '10.77.0.2' }), /adress/],
    [vm('10.77.0.2:7420'), /vms\.vm1/],
    [{ ...GOOD, vms: { '../vm1': { endpoint: '10.77.0.2:7420' } } }, /Invalid key.*vms/],
    [{ ...GOOD, vms: { 'vm\n1': { endpoint: '10.77.0.2:7420' } } }, /Invalid key.*vms/],
    [{ ...GOOD, pki: '' }, /a directory.*pki/],
    [{ ...GOOD, pki: '/a\0b' }, /a directory.*pki/],
    [{ ...GOOD, netns: '' }, /the path of a network namespace/],
    [vm({ endpoint: GOOD.sdn.endpoint }), /sdn and vm1 have the same endpoint/],
    [[], /expected object/],
    [1e308, /expected object/],
  ];
  for (const [value, expected] of cases) {
    const message = told(JSON.stringify(value));
    assert.match(message, expected);
    assert.match(message, /^manager\.json: [^\n]+$/);
  }
  assert.match(told('{"sdn": {}, "sdn": {}}'), /^manager\.json:1:13: the key sdn stands here twice$/);
  assert.match(told('{sdn: 1}'), /^manager\.json is not JSON$/);
  assert.match(told('['.repeat(1_000_000)), /not JSON/);
  assert.ok(told(`${'['.repeat(100_000)}${']'.repeat(100_000)}`).length < 400);
  const wrong = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`key-${index}`, 1]));
  assert.ok(told(JSON.stringify({ ...GOOD, ...wrong })).length < 400, 'not a line for each');
});

test('any text is a configuration or one error', () => {
  const text = JSON.stringify(GOOD, null, 1);
  const edit = fc.record({ at: fc.nat(text.length), remove: fc.nat(12), insert: fc.string({ unit: 'binary' }) });
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 4 }), fc.json(), (edits, other) => {
      const damaged = edits.reduce(
        (all, { at, remove, insert }) => all.slice(0, at) + insert + all.slice(at + remove),
        text,
      );
      for (const one of [damaged, other]) assert.ok(told(one).length < 400);
    }),
    { numRuns: 500 },
  );
});

test('a file of 1 GB is not read, and one that is not there is told', () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-manager-'));
  try {
    const option = join(directory, 'huge.json');
    writeFileSync(option, '{');
    truncateSync(option, 2 ** 30);
    assert.throws(
      () => loadManagerConfig({ option, environment: undefined }),
      /huge\.json:1:1: it is longer than \d+ bytes/,
    );
    const missing = join(directory, 'none.json');
    assert.throws(() => loadManagerConfig({ option: missing, environment: undefined }), /none\.json does not exist/);
    assert.throws(() => loadManagerConfig({ option: directory, environment: undefined }), /cannot be read: EISDIR/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
