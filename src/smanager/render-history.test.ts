import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { MigrationRecordSchema, MigrationUnderWaySchema } from '../api/gen/comicran_pb.ts';
import { migrationRecordJson, renderMigrations } from './render-history.ts';

const begun = { name: 'square', fromVm: 'vm1', toVm: 'vm2', startedUnixMs: 10_000n };
const moved = create(MigrationRecordSchema, { ...begun, mode: 'replicated', end: 'moved', endedUnixMs: 10_250n });
const failure = { code: 'replication.lagging', message: 'the copy does not catch up' };
const stayed = create(MigrationRecordSchema, { ...begun, requestedMode: 'replicated', end: 'stayed', ...failure });
const underWay = create(MigrationRecordSchema, {
  ...begun,
  mode: 'precopy',
  underWay: create(MigrationUnderWaySchema, { mode: 'precopy', phase: 'copy' }),
});

test('each migration has a line that says what became of it, and why', () => {
  const lines = renderMigrations([moved, stayed, underWay], 70_000).split('\n');
  assert.match(lines[1]!, /square +vm1 +vm2 +replicated .* moved to vm2$/);
  assert.match(lines[2]!, /stayed on vm1: replication.lagging: the copy does not catch up$/);
  const message =
    'the migration of square to vm2 failed (copy): the migration was aborted on request; it runs on at vm1';
  const aborted = renderMigrations([create(MigrationRecordSchema, { ...stayed, code: 'aborted', message })], 0);
  assert.match(aborted, /stayed on vm1: aborted: in copy: the migration was aborted on request\n$/);
  assert.match(lines[3]!, /precopy .* under way \(copy\)$/);
  assert.match(renderMigrations([], 0), /no migrations/);
  assert.equal(renderMigrations([], 0, 'sqare'), "no migrations of 'sqare' are known\n");
});

test('as JSON, what does not apply is null', () => {
  assert.deepEqual(migrationRecordJson(stayed), {
    ...{ name: 'square', from: 'vm1', to: 'vm2', mode: null, requestedMode: 'replicated', outcome: 'stayed' },
    ...{ phase: null, startedUnixMs: 10_000, endedUnixMs: 0, reasonCode: failure.code, reason: failure.message },
  });
  assert.deepEqual(migrationRecordJson(underWay), {
    ...{ name: 'square', from: 'vm1', to: 'vm2', mode: 'precopy', requestedMode: null, outcome: 'under way' },
    ...{ phase: 'copy', startedUnixMs: 10_000, endedUnixMs: null, reasonCode: null, reason: null },
  });
});
