import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areSameIds, insideId, NO_ID, outsideId, parseIdMap, readIdMaps, SAME_IDS } from './id-map.ts';

/** As the kernel pads it. */
const TEXT = '         0 1879048192       4000\n     65534 1879052287          1\n';
const RANGES = parseIdMap(TEXT);

test('a map is read as the kernel writes it', () => {
  assert.deepEqual(RANGES, [
    { inside: 0, outside: 1879048192, count: 4000 },
    { inside: 65534, outside: 1879052287, count: 1 },
  ]);
});

test('ids are translated both ways, and those without a counterpart are none', () => {
  for (const [inside, outside] of [
    [0, 1879048192],
    [33, 1879048225],
    [3999, 1879052191],
    [65534, 1879052287],
  ] as const) {
    assert.equal(outsideId(RANGES, inside), outside);
    assert.equal(insideId(RANGES, outside), inside);
  }
  assert.equal(outsideId(RANGES, 4000), NO_ID);
  assert.equal(insideId(RANGES, 0), NO_ID);
  assert.equal(insideId(RANGES, NO_ID), NO_ID);
  assert.equal(outsideId(SAME_IDS.users, 4711), 4711);
});

test('two namespaces have the same ids whatever the order of their ranges', () => {
  const maps = { users: RANGES, groups: RANGES };
  assert.ok(areSameIds(maps, { users: RANGES.toReversed(), groups: RANGES }));
  assert.ok(!areSameIds(maps, SAME_IDS));
  assert.ok(!areSameIds(maps, { users: RANGES, groups: RANGES.slice(1) }));
});

test('a process of one’s own namespace has the same ids', () => {
  assert.equal(readIdMaps(process.pid), SAME_IDS);
});
