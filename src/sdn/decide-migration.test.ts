import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import { decideAnnounce, decideEndMigration, decideLead, decideOpenRecord, decideSettle } from './decide-migration.ts';
import { decideRelease, decideSetOwner } from './decisions.ts';
import { applyEdits, type Edit, EMPTY_TABLES, type Tables } from './tables.ts';

const VM1 = { vm: 'vm1', vmAddress: '10.77.1.2' };
const VM2 = { vm: 'vm2', vmAddress: '10.77.2.2' };
const LOCATION = { sandbox: 'square', address: '10.88.0.5', ...VM1, epoch: 1n, migrationId: '', via: VM1.vmAddress };
const ANNOUNCE = {
  ...{ sandbox: 'square', migrationId: 'm1', epoch: 1n, from: 'vm1', to: 'vm2', untilMs: 90_000, lateRoute: false },
};
const OPEN = { sandbox: 'square', migrationId: 'm1', expectedEpoch: 1n, vm: 'vm2', ownerLink: 'eth1', link: 'eth2' };
const TAKE = { sandbox: 'square', expectedEpoch: 1n, ...VM2, migrationId: 'm1' };
const FENCE = { sandbox: 'square', expectedEpoch: 1n, ...VM1, migrationId: 'm1' };

const CLAIMED = applyEdits(EMPTY_TABLES, [{ kind: 'put-location', location: LOCATION }]);
const after = (tables: Tables, { edits }: { readonly edits: readonly Edit[] }): Tables => applyEdits(tables, edits);
const ANNOUNCED = after(CLAIMED, decideAnnounce(CLAIMED, ANNOUNCE));
const OPENED = after(ANNOUNCED, decideOpenRecord(ANNOUNCED, OPEN));
const TAKEN = after(OPENED, decideSetOwner(OPENED, TAKE));

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof ComicranError) return thrown.code;
    throw thrown;
  }
  return 'not refused';
}

test('only the owner announces, at the epoch that the record has', () => {
  const table: [Partial<typeof ANNOUNCE>, string][] = [
    [{}, 'not refused'],
    [{ sandbox: 'other' }, 'sandbox.unknown'],
    [{ from: 'vm2', to: 'vm1' }, 'ownership.lost'],
    [{ epoch: 2n }, 'ownership.lost'],
    [{ to: 'vm1' }, 'migration.refused'],
  ];
  for (const [change, code] of table) {
    assert.equal(
      refusal(() => decideAnnounce(CLAIMED, { ...ANNOUNCE, ...change })),
      code,
    );
  }
});

test('nobody takes but the destination of the migration that is announced, and it that epoch alone', () => {
  const table: [Tables, Partial<typeof TAKE>, string][] = [
    [CLAIMED, {}, 'peer.refused'],
    [ANNOUNCED, {}, 'not refused'],
    [OPENED, {}, 'not refused'],
    [ANNOUNCED, { vm: 'vm3' }, 'peer.refused'],
    [ANNOUNCED, { migrationId: 'm2' }, 'peer.refused'],
    [ANNOUNCED, { migrationId: '' }, 'peer.refused'],
    // The right is of the one epoch; and the owner's is always there.
    [TAKEN, { expectedEpoch: 2n, ...VM1 }, 'peer.refused'],
    [TAKEN, { expectedEpoch: 2n, migrationId: 'm2' }, 'not refused'],
    [CLAIMED, { ...VM1 }, 'not refused'],
  ];
  for (const [index, [tables, change, code]] of table.entries()) {
    assert.equal(
      refusal(() => decideSetOwner(tables, { ...TAKE, ...change })),
      code,
      `${index}`,
    );
  }
});

test('when the source fences, the migration is over for the network as well', () => {
  const fenced = after(OPENED, decideSetOwner(OPENED, FENCE));
  assert.equal(fenced.announcements.size, 0);
  assert.equal(fenced.locations.get('square')?.epoch, 2n);
  assert.deepEqual(decideSetOwner(fenced, TAKE).answer.changed, false);
  assert.deepEqual(decideSetOwner(fenced, TAKE).edits, []);
});

test('a later announcement ends the one before, and a release all of them', () => {
  const later = { ...ANNOUNCE, migrationId: 'm2', to: 'vm3' };
  const both = decideAnnounce(OPENED, later);
  assert.deepEqual(
    both.edits.map(({ kind }) => kind),
    ['remove-announcement', 'put-announcement'],
  );
  assert.equal(
    refusal(() => decideSetOwner(after(OPENED, both), TAKE)),
    'peer.refused',
  );
  const released = decideRelease(OPENED, { sandbox: 'square', vm: 'vm1', epoch: 1n });
  assert.equal(after(OPENED, released).announcements.size, 0);
});

test('a migration ends by word of either side, and of nobody else', () => {
  for (const vm of ['vm1', 'vm2']) {
    const ended = after(OPENED, decideEndMigration(OPENED, { sandbox: 'square', migrationId: 'm1', vm }));
    assert.equal(ended.announcements.size, 0);
  }
  const by = (vm: string, migrationId: string) => () =>
    decideEndMigration(OPENED, { sandbox: 'square', migrationId, vm }).edits.length;
  assert.equal(refusal(by('vm3', 'm1')), 'peer.refused');
  assert.equal(by('vm3', 'm2')(), 0, 'it is over');
});

test('a record channel is for the two sides of the migration, and opens the way for packets of the destination', () => {
  const table: [Tables, Partial<typeof OPEN>, string][] = [
    [ANNOUNCED, {}, 'not refused'],
    [ANNOUNCED, { vm: 'vm1' }, 'not refused'],
    [ANNOUNCED, { vm: 'vm3' }, 'peer.refused'],
    [ANNOUNCED, { migrationId: 'm2' }, 'peer.refused'],
    [ANNOUNCED, { expectedEpoch: 2n }, 'ownership.lost'],
    [CLAIMED, {}, 'peer.refused'],
    [TAKEN, {}, 'ownership.lost'],
  ];
  for (const [index, [tables, change, code]] of table.entries()) {
    assert.equal(
      refusal(() => decideOpenRecord(tables, { ...OPEN, ...change })),
      code,
      `${index}`,
    );
  }
  assert.deepEqual(decideOpenRecord(ANNOUNCED, { ...OPEN, vm: 'vm1' }).edits, []);
  const opened = OPENED.announcements.get('square');
  assert.deepEqual([opened?.fromLink, opened?.toLink], ['eth1', 'eth2']);
});

test('behind the change of the owner packets of the former one are taken for a second', () => {
  assert.deepEqual(decideSettle(OPENED, 'square', 10_000).edits, [], 'nothing has changed');
  const settled = after(TAKEN, decideSettle(TAKEN, 'square', 10_000));
  assert.equal(settled.announcements.get('square')?.untilMs, 11_000);
  assert.deepEqual(decideSettle(settled, 'square', 10_500).edits, [], 'the second does not begin again');
  assert.deepEqual(decideSettle(EMPTY_TABLES, 'square', 0).edits, []);
});

test('what was taken can be given back to the source, once', () => {
  const back = { sandbox: 'square', expectedEpoch: 2n, vm: 'vm1', vmAddress: '', by: 'vm2', migrationId: 'm1' };
  const given = decideSetOwner(TAKEN, back);
  assert.deepEqual(given.answer.location, { ...LOCATION, epoch: 3n, migrationId: 'm1' });
  const returned = after(TAKEN, given);
  assert.equal(returned.announcements.size, 0);
  assert.deepEqual(decideSetOwner(returned, back), { edits: [], answer: given.answer }, 'asked again');
  const refused: Partial<typeof back>[] = [
    { vm: 'vm3' },
    { by: 'vm3' },
    { migrationId: 'm2' },
    { by: 'vm1', vm: 'vm2' },
  ];
  for (const change of refused)
    assert.equal(
      refusal(() => decideSetOwner(TAKEN, { ...back, ...change })),
      'peer.refused',
      JSON.stringify(change),
    );
  // To a machine that an owner has not had it from.
  assert.equal(
    refusal(() => decideSetOwner(ANNOUNCED, { ...back, expectedEpoch: 1n, by: 'vm1', vm: 'vm2' })),
    'peer.refused',
  );
});

const LATE_ANNOUNCED = after(CLAIMED, decideAnnounce(CLAIMED, { ...ANNOUNCE, lateRoute: true, untilMs: 900_000 }));
const LATE_OPENED = after(LATE_ANNOUNCED, decideOpenRecord(LATE_ANNOUNCED, OPEN));
const LATE_TAKEN = after(LATE_OPENED, decideSetOwner(LATE_OPENED, TAKE));
const LEAD = { sandbox: 'square', migrationId: 'm1', vm: 'vm2' };
const whereOf = (tables: Tables) => {
  const location = tables.locations.get('square');
  return [location?.vm, location?.via];
};

test('where the route follows later, a take leaves it, and the new owner alone leads it', () => {
  assert.deepEqual(whereOf(TAKEN), ['vm2', VM2.vmAddress], 'without that, take has led');
  assert.deepEqual(whereOf(LATE_TAKEN), ['vm2', VM1.vmAddress]);
  const again = decideSetOwner(LATE_TAKEN, TAKE);
  assert.deepEqual([again.answer.changed, again.edits], [true, []], 'asked again, it leads nothing');
  const led = after(LATE_TAKEN, decideLead(LATE_TAKEN, LEAD));
  assert.deepEqual(whereOf(led), ['vm2', VM2.vmAddress]);
  assert.deepEqual(decideLead(led, LEAD).edits, []);
  assert.deepEqual(decideLead(TAKEN, LEAD).edits, []);
  const table: [Tables, Partial<typeof LEAD>, string][] = [
    [LATE_TAKEN, { vm: 'vm1' }, 'ownership.lost'],
    [LATE_TAKEN, { migrationId: 'm2' }, 'ownership.lost'],
    [LATE_TAKEN, { sandbox: 'other' }, 'sandbox.unknown'],
    [LATE_OPENED, {}, 'ownership.lost'],
  ];
  for (const [index, [tables, change, code]] of table.entries())
    assert.equal(
      refusal(() => decideLead(tables, { ...LEAD, ...change })),
      code,
      `${index}`,
    );
});

test('a destination whose packets would not be taken leads with the take', () => {
  const taken = after(LATE_ANNOUNCED, decideSetOwner(LATE_ANNOUNCED, TAKE));
  assert.deepEqual(whereOf(taken), ['vm2', VM2.vmAddress]);
});

test('the route is with the owner whatever ends the migration, and never without one', () => {
  const back = { sandbox: 'square', expectedEpoch: 2n, vm: 'vm1', vmAddress: '', by: 'vm2', migrationId: 'm1' };
  const fence = { ...TAKE, expectedEpoch: 2n, migrationId: 'm2' };
  const next = { ...ANNOUNCE, migrationId: 'm2', epoch: 2n, from: 'vm2', to: 'vm1', lateRoute: true };
  const ends: [string, { readonly edits: readonly Edit[] }, string[]][] = [
    ['given back', decideSetOwner(LATE_TAKEN, back), ['vm1', VM1.vmAddress]],
    ['the source takes it before', decideSetOwner(LATE_OPENED, FENCE), ['vm1', VM1.vmAddress]],
    ['taken once more by the owner', decideSetOwner(LATE_TAKEN, fence), ['vm2', VM2.vmAddress]],
    ['announced anew', decideAnnounce(LATE_TAKEN, next), ['vm2', VM2.vmAddress]],
    ['ended there', decideEndMigration(LATE_TAKEN, LEAD), ['vm2', VM2.vmAddress]],
    ['ended here', decideEndMigration(LATE_TAKEN, { ...LEAD, vm: 'vm1' }), ['vm2', VM2.vmAddress]],
  ];
  for (const [what, decision, expected] of ends)
    assert.deepEqual(whereOf(after(decision === ends[1]?.[1] ? LATE_OPENED : LATE_TAKEN, decision)), expected, what);
});

test('packets of both machines are taken until the route has followed and a second more, and it follows in the end', () => {
  const untilOf = (tables: Tables) => tables.announcements.get('square')?.untilMs;
  const bounded = after(LATE_TAKEN, decideSettle(LATE_TAKEN, 'square', 10_000));
  assert.equal(untilOf(bounded), 130_000);
  assert.deepEqual(whereOf(bounded), ['vm2', VM1.vmAddress]);
  assert.deepEqual(decideSettle(bounded, 'square', 100_000).edits, [], 'the time does not begin again');
  const overdue = after(bounded, decideSettle(bounded, 'square', 110_000));
  assert.deepEqual(whereOf(overdue), ['vm2', VM2.vmAddress], 'while packets of both are taken yet');
  assert.equal(untilOf(after(overdue, decideSettle(overdue, 'square', 110_000))), 111_000);
  const led = after(bounded, decideLead(bounded, LEAD));
  assert.equal(untilOf(after(led, decideSettle(led, 'square', 20_000))), 21_000);
});

test('the rights that an announcement gives are of its own epoch, whatever else the record has come to', () => {
  const [announcement] = TAKEN.announcements.values();
  assert.ok(announcement);
  const at = (epoch: bigint): Tables =>
    applyEdits(TAKEN, [{ kind: 'set-owner', location: { ...LOCATION, ...VM2, epoch, migrationId: 'm1' } }]);
  const back = { sandbox: 'square', ...VM1, by: 'vm2', migrationId: 'm1' };
  assert.equal(decideSetOwner(at(2n), { ...back, expectedEpoch: 2n }).answer.changed, true);
  assert.equal(
    refusal(() => decideSetOwner(at(3n), { ...back, expectedEpoch: 3n })),
    'peer.refused',
  );
  assert.equal(
    refusal(() => decideOpenRecord(TAKEN, { ...OPEN, expectedEpoch: 2n })),
    'peer.refused',
  );
  // Undecided is what the announced epoch is, not the one that was taken by it.
  const restarted = applyEdits(TAKEN, [
    { kind: 'put-announcement', announcement: { ...announcement, undecided: true } },
  ]);
  const onward = { ...ANNOUNCE, migrationId: 'm2', epoch: 2n, from: 'vm2', to: 'vm1' };
  assert.equal(
    refusal(() => decideAnnounce(restarted, onward)),
    'not refused',
  );
});

test('where the node was started anew in a migration, the source waits for the word of the destination', () => {
  const [announcement] = OPENED.announcements.values();
  assert.ok(announcement);
  const undecided = applyEdits(OPENED, [
    { kind: 'put-announcement', announcement: { ...announcement, undecided: true } },
  ]);
  const asks = [
    () => decideSetOwner(undecided, FENCE),
    () => decideAnnounce(undecided, { ...ANNOUNCE, migrationId: 'm2' }),
    () => decideOpenRecord(undecided, OPEN),
  ];
  for (const ask of asks) assert.equal(refusal(ask), 'sdn.unreachable');
  assert.equal(decideSetOwner(undecided, TAKE).answer.changed, true, 'it says that it owns');
  const declined = after(undecided, decideEndMigration(undecided, { sandbox: 'square', migrationId: 'm1', vm: 'vm2' }));
  assert.equal(decideSetOwner(declined, FENCE).answer.changed, true, 'it says that it does not');
});
