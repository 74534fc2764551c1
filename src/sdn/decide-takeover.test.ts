import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideAnnounce, decideEndMigration, decideOpenRecord } from './decide-migration.ts';
import { decideTakeOver, type TakeOver } from './decide-takeover.ts';
import { decideRelease, decideSetOwner } from './decisions.ts';
import { inverseOf } from './edits.ts';
import { contentFor, describeContent } from './plan.ts';
import { applyEdits, type Edit, EMPTY_TABLES, type Location, type Tables } from './tables.ts';

const VM1 = { vm: 'vm1', vmAddress: '10.0.1.2' };
const VM2 = { vm: 'vm2', vmAddress: '10.0.2.2' };
const LOCATION: Location = {
  ...{ sandbox: 'square', address: '10.88.0.5', ...VM1, epoch: 1n, migrationId: '', via: VM1.vmAddress },
};
const ANNOUNCE = {
  ...{ sandbox: 'square', migrationId: 'm1', epoch: 1n, from: 'vm1', to: 'vm2', untilMs: 900_000, lateRoute: true },
};
const TAKE = { sandbox: 'square', expectedEpoch: 1n, ...VM2, migrationId: 'm1' };
const OPEN = { ...TAKE, ownerLink: 'eth1', link: 'eth2' };
const REQUEST: TakeOver = { ...TAKE, sourceIsOff: false, ownerLink: 'eth1', link: 'eth2' };

const after = (tables: Tables, { edits }: { readonly edits: readonly Edit[] }): Tables => applyEdits(tables, edits);
const CLAIMED = applyEdits(EMPTY_TABLES, [{ kind: 'put-location', location: LOCATION }]);
const ANNOUNCED = after(CLAIMED, decideAnnounce(CLAIMED, ANNOUNCE));
const OPENED = after(ANNOUNCED, decideOpenRecord(ANNOUNCED, OPEN));
const TAKEN = after(OPENED, decideSetOwner(OPENED, TAKE));
const over = after(OPENED, decideTakeOver(OPENED, REQUEST));
const kernel = (tables: Tables): string[] => describeContent(contentFor(tables, '10.77.0.1', 0));
const SHUT_OUT = ['guard 10.88.0.5', 'route 10.88.0.5 via 10.0.2.2'];

test('owner, route and the end of the other one’s passage are one change, and one taking back', () => {
  assert.deepEqual(kernel(OPENED), [
    'guard 10.88.0.5',
    'passage of 10.88.0.5 from eth1',
    'passage of 10.88.0.5 from eth2',
    'route 10.88.0.5 via 10.0.1.2',
  ]);
  assert.deepEqual(kernel(over), SHUT_OUT);
  const owned = over.locations.get('square');
  assert.deepEqual([owned?.vm, owned?.epoch], ['vm2', 2n]);
  const { edits } = decideTakeOver(OPENED, REQUEST);
  assert.deepEqual(applyEdits(over, inverseOf(edits, OPENED)), OPENED);
});

test('asked again it changes nothing, and behind an ordinary take it does the rest of it', () => {
  assert.deepEqual(decideTakeOver(over, REQUEST), {
    edits: [],
    answer: { changed: true, location: over.locations.get('square') },
  });
  assert.notDeepEqual(kernel(TAKEN), SHUT_OUT);
  const rest = decideTakeOver(TAKEN, { ...REQUEST, link: 'eth1' });
  assert.deepEqual([rest.answer.changed, kernel(after(TAKEN, rest))], [true, SHUT_OUT]);
});

test('nobody may but the destination of the announced migration, and nobody behind a fence', () => {
  const refused = (tables: Tables, change: Partial<TakeOver>, code: string): void =>
    assert.throws(() => decideTakeOver(tables, { ...REQUEST, ...change }), { code });
  refused(CLAIMED, {}, 'migration.refused');
  refused(OPENED, { vm: 'vm3' }, 'migration.refused');
  refused(OPENED, { migrationId: 'm2' }, 'migration.refused');
  const ended = after(OPENED, decideEndMigration(OPENED, { sandbox: 'square', migrationId: 'm1', vm: 'vm1' }));
  refused(ended, {}, 'migration.refused');
  const gone = after(OPENED, decideRelease(OPENED, { sandbox: 'square', vm: 'vm1', epoch: 1n }));
  refused(gone, {}, 'sandbox.unknown');
  const fenced = after(OPENED, decideSetOwner(OPENED, { ...TAKE, ...VM1 }));
  const { edits, answer } = decideTakeOver(fenced, REQUEST);
  assert.deepEqual([edits, answer.changed, answer.location.vm, answer.location.epoch], [[], false, 'vm1', 2n]);
});

test('two machines behind one link cannot be told apart: refused, unless one of them is off', () => {
  assert.throws(() => decideTakeOver(OPENED, { ...REQUEST, ownerLink: 'eth2' }), {
    code: 'migration.refused',
    message: /behind one link \(eth2\)/,
  });
  for (const change of [{ ownerLink: 'eth2', sourceIsOff: true }, { ownerLink: undefined }])
    assert.equal(decideTakeOver(OPENED, { ...REQUEST, ...change }).answer.changed, true);
});

test('what was taken over can be given back, and the one that gets it is heard again', () => {
  const back = { sandbox: 'square', expectedEpoch: 2n, vm: 'vm1', vmAddress: '', by: 'vm2', migrationId: 'm1' };
  assert.deepEqual(kernel(after(over, decideSetOwner(over, back))), [
    'guard 10.88.0.5',
    'route 10.88.0.5 via 10.0.1.2',
  ]);
});

test('a question of an earlier migration does nothing to a later one', () => {
  const next = { ...ANNOUNCE, migrationId: 'm2', epoch: 2n, from: 'vm2', to: 'vm1' };
  const announced = after(over, decideAnnounce(over, next));
  const opened = after(
    announced,
    decideOpenRecord(announced, {
      ...OPEN,
      expectedEpoch: 2n,
      ...VM1,
      migrationId: 'm2',
      ownerLink: 'eth2',
      link: 'eth1',
    }),
  );
  assert.deepEqual(decideTakeOver(opened, REQUEST).edits, []);
});
