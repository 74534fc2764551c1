import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideAnnounce, decideEndMigration, decideLead } from './decide-migration.ts';
import { decideClaim, decideRelease, decideSetOwner, decideSetService, decideUnsetService } from './decisions.ts';
import { inverseOf } from './edits.ts';
import { applyEdits, type Edit, EMPTY_TABLES, type Tables } from './tables.ts';

const CLAIM = {
  ...{ sandbox: 'square', address: '10.88.0.5', vm: 'vm1', vmAddress: '10.77.1.2' },
  services: [{ port: 5006, protocol: 'udp', service: 5006 } as const],
};
const ANNOUNCE = {
  ...{ sandbox: 'square', migrationId: 'm1', epoch: 1n, from: 'vm1', to: 'vm2', untilMs: 90_000, lateRoute: false },
};
const TAKE = { sandbox: 'square', expectedEpoch: 1n, vm: 'vm2', vmAddress: '10.77.2.2', migrationId: 'm1' };

const after = (tables: Tables, { edits }: { readonly edits: readonly Edit[] }): Tables => applyEdits(tables, edits);
const CLAIMED = after(EMPTY_TABLES, decideClaim(EMPTY_TABLES, CLAIM, '10.77.0.1'));
const ANNOUNCED = after(CLAIMED, decideAnnounce(CLAIMED, ANNOUNCE));
const FENCE = { ...TAKE, vm: 'vm1', vmAddress: '10.77.1.2' };
const SERVICE = { sandbox: 'square', port: 6000, protocol: 'udp', sandboxPort: 5006 } as const;

test('what is taken back leaves the tables as they were, whatever was decided', () => {
  const cases: [string, Tables, readonly Edit[]][] = [
    ['a claim', EMPTY_TABLES, decideClaim(EMPTY_TABLES, CLAIM, '10.77.0.1').edits],
    ['an announcement', CLAIMED, decideAnnounce(CLAIMED, ANNOUNCE).edits],
    ['an announcement in the place of another', ANNOUNCED, decideAnnounce(ANNOUNCED, { ...ANNOUNCE, to: 'vm3' }).edits],
    ['a take', ANNOUNCED, decideSetOwner(ANNOUNCED, TAKE).edits],
    ['a fence, which ends the migration', ANNOUNCED, decideSetOwner(ANNOUNCED, FENCE).edits],
    ['the end of a migration', ANNOUNCED, decideEndMigration(ANNOUNCED, { ...ANNOUNCE, vm: 'vm1' }).edits],
    ['a service', CLAIMED, decideSetService(CLAIMED, SERVICE).edits],
    ['a service that ends', CLAIMED, decideUnsetService(CLAIMED, { port: 5006, protocol: 'udp' }).edits],
  ];
  for (const [name, before, edits] of cases) {
    assert.ok(edits.length > 0, name);
    const changed = applyEdits(before, edits);
    assert.notDeepEqual(changed, before, name);
    const { endedEpoch: _, ...restored } = applyEdits(changed, inverseOf(edits, before));
    const { endedEpoch: __, ...wanted } = before;
    assert.deepEqual(restored, wanted, name);
  }
});

test('a release that is taken back leaves everything, but for epochs that are not used again', () => {
  const { edits } = decideRelease(ANNOUNCED, { sandbox: 'square', vm: 'vm1', epoch: 1n });
  const restored = applyEdits(applyEdits(ANNOUNCED, edits), inverseOf(edits, ANNOUNCED));
  assert.deepEqual(restored, { ...ANNOUNCED, endedEpoch: 1n });
});

test('a route that follows later, taken back, is late again', () => {
  const late = applyEdits(CLAIMED, [
    {
      kind: 'set-owner',
      location: { ...CLAIM, vm: 'vm2', vmAddress: '10.77.2.2', epoch: 2n, migrationId: 'm1', via: '10.77.1.2' },
    },
  ]);
  const { edits } = decideLead(late, { sandbox: 'square', migrationId: 'm1', vm: 'vm2' });
  assert.equal(edits.length, 1);
  assert.deepEqual(applyEdits(applyEdits(late, edits), inverseOf(edits, late)), late);
});
