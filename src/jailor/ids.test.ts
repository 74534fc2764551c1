import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullConfig, SecuritySpec, UserSpec } from '../base/sandbox-config.ts';
import { outsideId } from '../linux/id-map.ts';
import { describeIds, idMapsOf, rootOf, userOf } from './ids.ts';

function config(address: string, user?: UserSpec, security?: Partial<SecuritySpec>): FullConfig {
  const process = { executable: '/a', arguments: [], environment: {}, workingDirectory: '/' };
  return {
    version: 1,
    id: 'one',
    process: user === undefined ? process : { ...process, user },
    network: { address, ports: [] },
    ...{ files: [], symlinks: [], directories: [], writable: [] },
    ...(security === undefined ? {} : { security: { capabilities: [], systemCalls: [], ...security } }),
  };
}

test('the ids of a sandbox follow from its address', () => {
  assert.deepEqual(idMapsOf(config('10.88.0.5')).users, [
    { inside: 0, outside: 0x7000_5000, count: 4000 },
    { inside: 65_534, outside: 0x7000_5fff, count: 1 },
  ]);
  assert.deepEqual(rootOf(idMapsOf(config('10.88.255.255'))), { uid: 0x7fff_f000, gid: 0x7fff_f000 });
  assert.equal(describeIds(idMapsOf(config('10.88.0.0'))), '1879048192 to 1879052287');
});

test('two addresses of one network have no id in common', () => {
  const last = (address: string): number => idMapsOf(config(address)).users.at(-1)!.outside;
  const first = (address: string): number => idMapsOf(config(address)).users[0]!.outside;
  for (const [one, next] of [
    ['10.88.0.5', '10.88.0.6'],
    ['10.88.0.255', '10.88.1.0'],
  ] as const)
    assert.equal(last(one) + 1, first(next));
});

test('a user and groups that lie beyond the first ones have an id too', () => {
  const maps = idMapsOf(config('10.88.0.5', { uid: 100_000, gid: 5000, groups: [4000, 5000, 65_534, 33] }));
  assert.deepEqual(maps.users[1], { inside: 100_000, outside: 0x7000_5000 + 4000, count: 1 });
  assert.deepEqual(
    [4000, 5000, 33, 65_534].map((id) => outsideId(maps.groups, id) - 0x7000_5000),
    [4000, 4001, 33, 4095],
  );
  const other = config('10.88.0.5', { uid: 33, gid: 44, groups: [] });
  assert.deepEqual(userOf(other, idMapsOf(other)), { uid: 0x7000_5000 + 33, gid: 0x7000_5000 + 44 });
});

test('more of them than there is room for are refused', () => {
  const groups = Array.from({ length: 96 }, (_, index) => 10_000 + index);
  assert.throws(() => idMapsOf(config('10.88.0.5', { uid: 0, gid: 0, groups })), { code: 'config.invalid' });
});

test('a configuration may name the range, or do without', () => {
  assert.equal(rootOf(idMapsOf(config('10.88.0.5', undefined, { firstId: 200_000 }))).uid, 200_000);
  const without = config('10.88.0.5', undefined, { userNamespace: false });
  assert.deepEqual(rootOf(idMapsOf(without)), { uid: 0, gid: 0 });
  assert.equal(describeIds(idMapsOf(without)), undefined);
});
