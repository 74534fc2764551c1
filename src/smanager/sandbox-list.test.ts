import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import {
  LagSchema,
  LocationSchema,
  MigrationUnderWaySchema,
  SandboxSchema,
  ServiceSchema,
} from '../api/gen/comicran_pb.ts';
import { renderSandboxes } from './render.ts';
import { mergeSandboxes } from './sandbox-list.ts';

const location = create(LocationSchema, { sandbox: 'square', address: '10.88.0.5', vm: 'vm1', epoch: 3n });
const service = create(ServiceSchema, { address: '10.70.0.1', port: 5006, protocol: 'udp', sandbox: 'square' });
const running = create(SandboxSchema, { name: 'square', state: 'running', rootPid: 77, address: '10.88.0.5' });

test('a sandbox stands where the record says, with the service that leads to it', () => {
  const rows = mergeSandboxes(
    [location],
    [service],
    [
      { vm: 'vm1', sandboxes: [running] },
      { vm: 'vm2', sandboxes: [] },
    ],
  );
  assert.equal(rows.length, 1);
  assert.deepEqual(
    [rows[0]!.name, rows[0]!.vm, rows[0]!.state, rows[0]!.address, rows[0]!.service, rows[0]!.pid, rows[0]!.epoch],
    ['square', 'vm1', 'running', '10.88.0.5', '10.70.0.1:5006', 77, 3],
  );
});

test('a copy that arrives is not a second sandbox', () => {
  const arriving = create(SandboxSchema, { name: 'square', state: 'arriving' });
  const rows = mergeSandboxes(
    [location],
    [service],
    [
      { vm: 'vm1', sandboxes: [running] },
      { vm: 'vm2', sandboxes: [arriving] },
    ],
  );
  assert.equal(rows.length, 1);
  assert.equal(rows[0]!.movingTo, 'vm2');
});

test('a machine that does not answer and one that has forgotten the sandbox are told apart', () => {
  assert.equal(mergeSandboxes([location], [], [{ vm: 'vm1', sandboxes: undefined }])[0]!.state, 'unreachable');
  assert.equal(mergeSandboxes([location], [], [{ vm: 'vm1', sandboxes: [] }])[0]!.state, 'lost');
});

test('a sandbox that has ended is listed where it ended, with how', () => {
  const stopped = create(SandboxSchema, { name: 'old', state: 'stopped', exitCode: 3 });
  const rows = mergeSandboxes([], [], [{ vm: 'vm2', sandboxes: [stopped] }]);
  assert.deepEqual([rows[0]!.vm, rows[0]!.state, rows[0]!.ended], ['vm2', 'stopped', 'exit 3']);
  assert.deepEqual([rows[0]!.exitCode, rows[0]!.exitSignal], [3, null]);
  const lost = create(SandboxSchema, { name: 'lost', state: 'stopped', startedUnixMs: 5n });
  assert.match(renderSandboxes(mergeSandboxes([], [], [{ vm: 'vm1', sandboxes: [lost] }]), 9), /\(how is not known\)/);
});

test('the process has two PIDs, by name, and an age from its start', () => {
  const moved = create(SandboxSchema, { ...running, innerPid: 3, startedUnixMs: 1000n });
  const rows = mergeSandboxes([location], [], [{ vm: 'vm1', sandboxes: [moved] }]);
  assert.deepEqual([rows[0]!.pid, rows[0]!.pidInside, rows[0]!.startedUnixMs], [77, 3, 1000]);
  assert.match(renderSandboxes(rows, 61_000), /PID INSIDE\/VM +AGE\n.* 3\/77 +60 s\n/);
});

test('a migration under way is told with its phase and how far the copy is behind', () => {
  const lag = create(LagSchema, { inputs: 7n, outputs: 5n });
  const underWay = create(MigrationUnderWaySchema, { mode: 'replicated', toVm: 'vm2', phase: 'catch-up', lag });
  const migrating = create(SandboxSchema, { name: 'square', state: 'migrating', underWay });
  const rows = mergeSandboxes([location], [service], [{ vm: 'vm1', sandboxes: [migrating] }]);
  assert.equal(rows[0]!.movingTo, 'vm2');
  assert.match(renderSandboxes(rows, 0), /vm1 -> vm2 +migrating \(catch-up, 12 behind\)/);
});
