import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import { dependenciesOf, loadingOrder, moduleName } from './kernel-modules.ts';

const KERNEL: Readonly<Record<string, readonly string[]>> = {
  virtio: [],
  virtio_ring: ['virtio'],
  virtio_pci: ['virtio_ring', 'virtio'],
  virtio_net: ['virtio_ring', 'virtio', 'net_failover'],
  net_failover: ['failover'],
  failover: [],
  round: ['about'],
  about: ['round'],
  lame: ['missing'],
};

const needsOf = (name: string): readonly string[] | undefined => KERNEL[name];

test('what a module needs stands in its file', () => {
  const section = 'license=GPL\0depends=virtio-ring,virtio\0retpoline=Y\0';
  assert.deepEqual(dependenciesOf(Buffer.from(`\x7fELF…\0${section}`)), ['virtio_ring', 'virtio']);
  assert.deepEqual(dependenciesOf(Buffer.from('\0depends=\0name=tun\0')), []);
  assert.deepEqual(dependenciesOf(Buffer.from('\0name=tun\0')), []);
});

test('a module comes behind all that it needs, and once', () => {
  assert.deepEqual(loadingOrder(['virtio-net', 'virtio_pci'], needsOf), [
    ...['virtio', 'virtio_ring', 'failover', 'net_failover', 'virtio_net', 'virtio_pci'],
  ]);
  assert.equal(moduleName('kernel/drivers/char/hw_random/virtio-rng.ko'), 'virtio_rng');
});

test('a module that is not there is named, with who needs it', () => {
  const named = (words: RegExp) => (thrown: unknown) =>
    thrown instanceof ComicranError && thrown.code === 'needs.kernel' && words.test(thrown.message);
  assert.throws(() => loadingOrder(['lame'], needsOf), named(/missing \(lame -> missing\)/));
  assert.throws(() => loadingOrder(['round'], needsOf), named(/round -> about -> round/));
});
