import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { decideAnnounce } from './decide-migration.ts';
import {
  type Claim,
  decideClaim,
  decideRelease,
  decideSetOwner,
  decideSetService,
  decideUnsetService,
} from './decisions.ts';
import { applyEdits, EMPTY_TABLES, servicesOf, type Tables } from './tables.ts';

const SERVICE_ADDRESS = '10.77.0.1';
const SQUARE: Claim = {
  sandbox: 'square',
  address: '10.88.0.5',
  vm: 'vm1',
  vmAddress: '10.77.1.2',
  services: [{ port: 5006, protocol: 'udp', service: 5006 }],
};

const claimed = (tables: Tables, claim: Claim): Tables =>
  applyEdits(tables, decideClaim(tables, claim, SERVICE_ADDRESS).edits);
const WITH_SQUARE = claimed(EMPTY_TABLES, SQUARE);

function refusal(run: () => unknown): [string, string] {
  try {
    run();
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError);
    return [thrown.code, thrown.message];
  }
  throw new Error('it was not refused');
}

test('a claim takes name, address and services', () => {
  const { location, services } = decideClaim(EMPTY_TABLES, SQUARE, SERVICE_ADDRESS).answer;
  assert.deepEqual(location, {
    sandbox: 'square',
    address: '10.88.0.5',
    vm: 'vm1',
    vmAddress: '10.77.1.2',
    epoch: 1n,
    migrationId: '',
    via: '10.77.1.2',
  });
  assert.equal(services.length, 1);
  assert.deepEqual(servicesOf(WITH_SQUARE, 'square'), services);
});

test('what is taken is refused, naming the holder', () => {
  const other: Claim = { sandbox: 'other', address: '10.88.0.6', vm: 'vm2', vmAddress: '10.77.2.2', services: [] };
  const table: [Partial<Claim>, string, RegExp][] = [
    [{ sandbox: 'square' }, 'sandbox.exists', /'square' is there already: on vm1, with the address 10\.88\.0\.5/],
    [{ address: '10.88.0.5' }, 'address.in-use', /10\.88\.0\.5 belongs to sandbox 'square' on vm1/],
    [{ address: SERVICE_ADDRESS }, 'address.in-use', /is the service address/],
    [{ address: '10.77.1.2' }, 'address.in-use', /is the address of the machine vm1/],
    [{ address: '10.77.2.2' }, 'address.in-use', /is the address of the machine vm2/],
    [{ services: SQUARE.services }, 'service.in-use', /5006\/udp leads to port 5006 of sandbox 'square'/],
    [
      { services: [7, 8].map((port) => ({ port, protocol: 'udp', service: 9 })) },
      'config.invalid',
      /asks for service port 9\/udp twice/,
    ],
  ];
  for (const [change, code, message] of table) {
    const [foundCode, foundMessage] = refusal(() => decideClaim(WITH_SQUARE, { ...other, ...change }, SERVICE_ADDRESS));
    assert.equal(foundCode, code);
    assert.match(foundMessage, message);
  }
  // The same port number of another protocol is another service.
  const tcp: Claim = { ...other, services: [{ port: 1, protocol: 'tcp', service: 5006 }] };
  assert.equal(decideClaim(WITH_SQUARE, tcp, SERVICE_ADDRESS).edits.length, 2);
});

test('a claim that is repeated is confirmed without a change', () => {
  const again = decideClaim(WITH_SQUARE, SQUARE, SERVICE_ADDRESS);
  assert.deepEqual(again.edits, []);
  assert.equal(again.answer.location.epoch, 1n);
  // The machine came back with another address of its own: the route follows, the epoch does not move.
  const moved = decideClaim(WITH_SQUARE, { ...SQUARE, vmAddress: '10.77.1.3' }, SERVICE_ADDRESS);
  assert.equal(moved.edits.length, 1);
  assert.equal(moved.answer.location.epoch, 1n);
});

/** The tables when a machine has announced that the sandbox moves to the other one. */
function announced(tables: Tables, from: string, migrationId: string, epoch: bigint): Tables {
  const to = from === 'vm1' ? 'vm2' : 'vm1';
  const announce = { sandbox: 'square', migrationId, epoch, from, to, untilMs: 0, lateRoute: false };
  return applyEdits(tables, decideAnnounce(tables, announce).edits);
}

test('compare-and-set of the owner', () => {
  const request = { sandbox: 'square', expectedEpoch: 1n, vm: 'vm2', vmAddress: '10.77.2.2', migrationId: 'm1' };
  assert.equal(refusal(() => decideSetOwner(WITH_SQUARE, request))[0], 'peer.refused');
  const first = decideSetOwner(announced(WITH_SQUARE, 'vm1', 'm1', 1n), request);
  assert.deepEqual([first.answer.changed, first.answer.location.vm, first.answer.location.epoch], [true, 'vm2', 2n]);
  assert.equal(first.edits.length, 1);
  const after = applyEdits(WITH_SQUARE, first.edits);

  // The answer was lost and it is asked again: yes, and nothing changes.
  assert.deepEqual(decideSetOwner(after, request), { edits: [], answer: first.answer });
  const table: [string, Partial<typeof request>, boolean][] = [
    ['another migration of the same machine', { migrationId: 'm2' }, false],
    ['the source fences with the same id, too late', { vm: 'vm1' }, false],
    ['an epoch that never was', { expectedEpoch: 7n }, false],
    ['the present epoch', { expectedEpoch: 2n, migrationId: 'm2' }, true],
  ];
  for (const [name, change, changed] of table) {
    const { answer, edits } = decideSetOwner(after, { ...request, ...change });
    assert.equal(answer.changed, changed, name);
    assert.equal(edits.length, changed ? 1 : 0, name);
    if (!changed) assert.deepEqual(answer.location, first.answer.location, 'the record as it stands');
  }
  // A change without a name is never recognised.
  const fence = { ...request, vm: 'vm1', vmAddress: '10.77.1.2', migrationId: '' };
  const fenced = applyEdits(WITH_SQUARE, decideSetOwner(WITH_SQUARE, fence).edits);
  assert.equal(decideSetOwner(fenced, fence).answer.changed, false);
  // Two owners on, the first request is old news.
  const third = decideSetOwner(announced(after, 'vm2', 'm2', 2n), {
    ...request,
    expectedEpoch: 2n,
    vm: 'vm1',
    migrationId: 'm2',
  });
  assert.equal(decideSetOwner(applyEdits(after, third.edits), request).answer.changed, false);
  assert.equal(refusal(() => decideSetOwner(after, { ...request, sandbox: 'nowhere' }))[0], 'sandbox.unknown');
});

test('only its owner releases a sandbox, with the right epoch', () => {
  const wrong = [
    { sandbox: 'square', vm: 'vm2', epoch: 1n },
    { sandbox: 'square', vm: 'vm1', epoch: 2n },
  ];
  for (const request of wrong) {
    const [code, message] = refusal(() => decideRelease(WITH_SQUARE, request));
    assert.equal(code, 'ownership.lost');
    assert.match(message, /belongs to vm1 in epoch 1/);
  }
  const right = { sandbox: 'square', vm: 'vm1', epoch: 1n };
  const after = applyEdits(WITH_SQUARE, decideRelease(WITH_SQUARE, right).edits);
  assert.deepEqual([after.locations.size, after.services.size], [0, 0]);
  assert.deepEqual(decideRelease(after, right).edits, [], 'it is released');
});

test('an epoch is never used again: a late request for a sandbox of the same name changes nothing', () => {
  const late = { sandbox: 'square', expectedEpoch: 1n, vm: 'vm2', vmAddress: '10.77.2.2', migrationId: 'm1' };
  const ended = applyEdits(WITH_SQUARE, decideRelease(WITH_SQUARE, { sandbox: 'square', vm: 'vm1', epoch: 1n }).edits);
  const again = claimed(ended, SQUARE);
  assert.equal(again.locations.get('square')?.epoch, 2n);
  assert.equal(decideSetOwner(again, late).answer.changed, false);
});

test('services by hand', () => {
  const service = { port: 80, protocol: 'tcp', sandbox: 'square', sandboxPort: 8080 } as const;
  const decision = decideSetService(WITH_SQUARE, service);
  assert.equal(decision.answer.sandboxAddress, '10.88.0.5');
  const after = applyEdits(WITH_SQUARE, decision.edits);
  assert.deepEqual(decideSetService(after, service).edits, []);
  assert.equal(refusal(() => decideSetService(after, { ...service, sandboxPort: 1 }))[0], 'service.in-use');
  assert.equal(refusal(() => decideSetService(after, { ...service, sandbox: 'nowhere' }))[0], 'sandbox.unknown');
  const without = applyEdits(after, decideUnsetService(after, service).edits);
  assert.deepEqual(without.services, WITH_SQUARE.services);
  assert.deepEqual(decideUnsetService(without, service).edits, []);
});

test('whatever is asked in whatever order: no address and no service has two holders, epochs only grow', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const vm = fc.constantFrom('vm1', 'vm2');
  const epoch = fc.bigInt({ min: 0n, max: 6n });
  const vmAddress = fc.constantFrom('10.77.1.2', '10.77.2.2');
  const address = fc.constantFrom('10.88.0.1', '10.88.0.2');
  const port = fc.constantFrom(1, 2);
  const protocol = fc.constant('udp' as const);
  const services = fc.array(fc.record({ port, protocol, service: port }), { maxLength: 2 });
  const migrationId = fc.constantFrom('', 'm1', 'm2');
  const step = fc.oneof(
    fc
      .record({ sandbox: name, address, vm, vmAddress, services })
      .map((claim) => (tables: Tables) => decideClaim(tables, claim, SERVICE_ADDRESS).edits),
    fc
      .record({ sandbox: name, migrationId, epoch, from: vm, to: vm, lateRoute: fc.boolean() })
      .map((request) => (tables: Tables) => decideAnnounce(tables, { ...request, untilMs: 0 }).edits),
    fc
      .record({ sandbox: name, expectedEpoch: epoch, vm, vmAddress, migrationId })
      .map((request) => (tables: Tables) => decideSetOwner(tables, request).edits),
    fc.record({ sandbox: name, vm, epoch }).map((request) => (tables: Tables) => decideRelease(tables, request).edits),
    fc
      .record({ port, protocol, sandbox: name, sandboxPort: port })
      .map((request) => (tables: Tables) => decideSetService(tables, request).edits),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let tables = EMPTY_TABLES;
      const epochs = new Map<string, bigint>();
      for (const decide of steps) {
        try {
          tables = applyEdits(tables, decide(tables));
        } catch (thrown) {
          if (!(thrown instanceof ComicranError)) throw thrown;
        }
        const locations = [...tables.locations.values()];
        assert.equal(new Set(locations.map((location) => location.address)).size, locations.length);
        for (const location of locations) {
          assert.ok(location.epoch >= (epochs.get(location.sandbox) ?? 0n));
          epochs.set(location.sandbox, location.epoch);
        }
        for (const service of tables.services.values()) {
          assert.equal(tables.locations.get(service.sandbox)?.address, service.sandboxAddress);
        }
      }
    }),
  );
});
