/** The record channel: the daemon's second face and the machine's side of it, over loopback, with a fake kernel. No root. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { type Connection, connect } from '../../src/api/client.ts';
import { Sdn } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import type { Ownership } from '../../src/migration/ports.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { type FastRecord, openFastRecord, type RecordAddress } from '../../src/sdaemon/record/fast-record.ts';
import { QuickOwnership } from '../../src/sdaemon/record/quick-ownership.ts';
import { type SdnDaemon, startSdn } from '../../src/sdn/daemon.ts';
import { FakeDataPlane } from '../../src/sdn/fake-data-plane.ts';
import { describeContent } from '../../src/sdn/plan.ts';
import { openRecordStore } from '../../src/sdn/record-store.ts';
import { failureOf, makePki, removeDirectory } from '../api/support.ts';

const LOOPBACK = '127.0.0.1';
const TAKE = {
  sandbox: 'square',
  migrationId: 'm1',
  expectedEpoch: 1n,
  vm: 'vm2',
  vmAddress: '10.77.2.2',
};
/** By whose clock nobody is ever slow: nothing fails here but what is made to. */
const readiness = new Readiness(() => performance.now() / 100);

let pki: string;
let state: string;
let plane: FakeDataPlane;
let sdn: SdnDaemon;
const connections: Connection<typeof Sdn>[] = [];
const channels: { close(): void }[] = [];

const startDaemon = (bootId?: string) =>
  startSdn({
    ...(bootId === undefined ? {} : { bootId }),
    listen: `${LOOPBACK}:0`,
    stateDirectory: state,
    identity: loadIdentity(pki, 'sdn'),
    serviceAddress: '10.77.0.1',
    openDataPlane: () => plane,
    log: () => undefined,
  });

function dial(as: string) {
  const connection = connect(Sdn, {
    endpoint: sdn.endpoint,
    identity: loadIdentity(pki, as),
    peer: { role: 'sdn' },
  });
  connections.push(connection);
  return connection.client;
}

/** vm1 has claimed the sandbox and announced that it moves to vm2. */
async function announced(lateRoute = false) {
  const [vm1, vm2] = [dial('vm1'), dial('vm2')];
  const claim = { sandbox: 'square', address: '10.88.0.5', vm: 'vm1', vmAddress: '10.77.1.2', ports: [] };
  await vm1.claim(claim);
  const move = { sandbox: 'square', migrationId: 'm1', epoch: 1n, fromVm: 'vm1', toVm: 'vm2', deadlineMs: 1000 };
  await vm1.announceMigration({ ...move, lateRoute });
  return { vm1, vm2 };
}

async function opened(client: ReturnType<typeof dial>, take = TAKE): Promise<RecordAddress> {
  return { address: LOOPBACK, ...(await client.openRecordChannel(take)) };
}

async function open(address: RecordAddress): Promise<FastRecord> {
  const channel = await openFastRecord(address, readiness, 2000);
  channels.push(channel);
  return channel;
}

before(async () => {
  pki = await makePki();
});
after(() => removeDirectory(pki));
beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), 'comicran-sdn-'));
  plane = new FakeDataPlane();
  sdn = await startDaemon();
});
afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  for (const connection of connections.splice(0)) connection.close();
  await sdn.close();
  removeDirectory(state);
});

test('the destination takes: record, route, and the same answer over RPC', async () => {
  const { vm1, vm2 } = await announced();
  const record = await open(await opened(vm2));
  for (let i = 0; i < 3; i++) assert.ok((await record.ping()) >= 0);
  const { location: before } = await vm1.locate({ sandbox: 'square' });
  assert.deepEqual([before?.vm, before?.epoch], ['vm1', 1n], 'a rehearsal changes nothing');
  assert.deepEqual(await record.take(1n), { owner: 'vm2', epoch: 2n });
  assert.ok(describeContent(plane.read()).includes('route 10.88.0.5 via 10.77.2.2'));
  assert.deepEqual(await record.take(1n), { owner: 'vm2', epoch: 2n }, 'asked again');
  const again = await vm2.setOwner(TAKE);
  assert.deepEqual([again.changed, again.location?.epoch], [true, 2n]);
});

for (const how of ['by its channel', 'over RPC'] as const)
  test(`where the route follows later, the destination leads it when it says so, ${how}`, async () => {
    const { vm1, vm2 } = await announced(true);
    const routed = (): string | undefined => plane.read().routes.get('10.88.0.5');
    const record = await open(await opened(vm2));
    await assert.rejects(record.lead(), { code: 'ownership.lost' });
    assert.deepEqual(await record.take(1n), { owner: 'vm2', epoch: 2n });
    assert.deepEqual(await record.take(1n), { owner: 'vm2', epoch: 2n }, 'asked again');
    assert.equal((await vm2.setOwner(TAKE)).changed, true, 'and over RPC');
    assert.equal(routed(), '10.77.1.2');
    const lead = { sandbox: 'square', migrationId: 'm1', vm: 'vm2' };
    assert.equal((await failureOf(vm1.leadPackets(lead))).code, 'peer.refused');
    assert.equal((await failureOf(vm1.leadPackets({ ...lead, vm: 'vm1' }))).code, 'ownership.lost');
    for (let round = 0; round < 2; round++) await (how === 'over RPC' ? vm2.leadPackets(lead) : record.lead());
    assert.equal(routed(), '10.77.2.2');
  });

test('the source fences, and the destination is told', async () => {
  const { vm1, vm2 } = await announced();
  const theirs = await open(await opened(vm2));
  const own = await open(await opened(vm1, { ...TAKE, vm: 'vm1', vmAddress: '10.77.1.2' }));
  assert.deepEqual(await own.take(1n), { owner: 'vm1', epoch: 2n });
  assert.deepEqual(await theirs.take(1n), { owner: 'vm1', epoch: 2n });
  assert.deepEqual([...plane.read().passages.keys()], []);
});

test('the destination gives back what it has taken', async () => {
  const { vm1, vm2 } = await announced();
  const record = await open(await opened(vm2));
  await record.take(1n);
  assert.deepEqual(await record.give(2n), { owner: 'vm1', epoch: 3n });
  assert.deepEqual(await record.give(2n), { owner: 'vm1', epoch: 3n }, 'asked again');
  assert.ok(describeContent(plane.read()).includes('route 10.88.0.5 via 10.77.1.2'));
  const { location } = await vm1.locate({ sandbox: 'square' });
  assert.deepEqual([location?.vm, location?.epoch, location?.vmAddress], ['vm1', 3n, '10.77.1.2']);
  assert.equal((await vm1.setOwner({ ...TAKE, expectedEpoch: 3n, vm: 'vm1', vmAddress: '10.77.1.2' })).changed, true);
});

test('giving back over RPC is in the name of who gives', async () => {
  const { vm1, vm2 } = await announced();
  await vm2.setOwner(TAKE);
  const back = { ...TAKE, expectedEpoch: 2n, vm: 'vm1', vmAddress: '', byVm: 'vm2' };
  assert.equal((await failureOf(vm1.setOwner(back))).code, 'peer.refused');
  assert.equal((await vm2.setOwner(back)).location?.epoch, 3n);
});

test('a channel is opened for the sides of an announced migration alone, each for itself', async () => {
  const { vm1, vm2 } = await announced();
  const refused: (readonly [ReturnType<typeof dial>, Partial<typeof TAKE>, string])[] = [
    [vm1, {}, 'peer.refused'],
    [vm2, { migrationId: 'm2' }, 'peer.refused'],
    [vm2, { migrationId: '' }, 'config.invalid'],
    [vm2, { expectedEpoch: 2n }, 'ownership.lost'],
    [vm2, { sandbox: 'other' }, 'sandbox.unknown'],
  ];
  for (const [client, change, code] of refused) {
    assert.equal((await failureOf(client.openRecordChannel({ ...TAKE, ...change }))).code, code);
  }
});

test('a channel is for its one epoch, and for its one migration', async () => {
  const { vm1, vm2 } = await announced();
  const record = await open(await opened(vm2));
  await assert.rejects(record.take(7n), { code: 'peer.refused', message: /for epoch 1, not for 7/ });
  await assert.rejects(record.give(1n), { code: 'peer.refused', message: /nothing of 'square'/ });
  await vm1.endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm1' });
  await assert.rejects(record.take(1n), { code: 'peer.refused', message: /has announced no migration m1/ });
  const { location } = await vm1.locate({ sandbox: 'square' });
  assert.deepEqual([location?.vm, location?.epoch], ['vm1', 1n]);
});

test('without the key nobody gets in, and a key of a migration that is over is none', async () => {
  const { vm1, vm2 } = await announced();
  const address = await opened(vm2);
  const code = (key: Uint8Array): Promise<string> =>
    failureOf(openFastRecord({ ...address, key }, readiness, 2000)).then((failure) => failure.code);
  assert.equal(await code(randomBytes(32)), 'peer.refused');
  const socket = net.connect(address.port, LOOPBACK);
  socket.on('error', () => undefined);
  socket.write(randomBytes(4096));
  await once(socket, 'close');
  const replaced = await opened(vm2);
  assert.equal(await code(address.key), 'peer.refused', 'another one has been given out since');
  await (await open(replaced)).ping();
  await vm1.endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm1' });
  assert.equal(await code(replaced.key), 'peer.refused');
});

test('after the next answer over RPC a new start finds the owner, and no migration that has been ended', async () => {
  const { vm2 } = await announced();
  const record = await open(await opened(vm2));
  await record.take(1n);
  await vm2.setOwner(TAKE);
  await vm2.endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm2' });
  assert.deepEqual([...plane.read().passages.keys()], []);
  await sdn.close();
  const store = openRecordStore(state);
  const { locations, announcements } = store.load();
  store.close();
  sdn = await startDaemon();
  assert.equal(locations.get('square')?.vm, 'vm2');
  assert.equal(announcements.size, 0);
});

test('an sdn node that was started anew lets the source wait until the destination has spoken', async () => {
  const { vm1, vm2 } = await announced();
  await opened(vm2);
  await vm1.locate({ sandbox: 'square' });
  await sdn.close();
  sdn = await startDaemon('another start of the node');
  const fence = { ...TAKE, vm: 'vm1', vmAddress: '10.77.1.2' };
  assert.equal((await failureOf(dial('vm1').setOwner(fence))).code, 'sdn.unreachable');
  // The destination was told that it owns, and the disk has not seen it: it says so again.
  assert.equal((await dial('vm2').setOwner(TAKE)).changed, true);
  assert.deepEqual((await dial('vm1').setOwner(fence)).location?.vm, 'vm2');
});

test('where the channel fails, the ordinary way is taken', async () => {
  const { vm2 } = await announced();
  const address = await opened(vm2);
  const asked: string[] = [];
  const ordinary: Ownership = {
    async take(epoch) {
      asked.push(`take ${epoch}`);
      return { owner: 'vm2', epoch: epoch + 1n };
    },
    async give(epoch) {
      asked.push(`give ${epoch}`);
      return { owner: 'vm1', epoch: epoch + 1n };
    },
    async lead() {
      asked.push('lead');
    },
    async takeOver(epoch) {
      asked.push(`take over ${epoch}`);
      return { owner: 'vm2', epoch: epoch + 1n };
    },
    look: async () => undefined,
  };
  const notes: string[] = [];
  const note = (reason: string): void => void notes.push(reason);
  using without = new QuickOwnership(undefined, readiness, ordinary, note);
  assert.deepEqual(await without.take(1n), { owner: 'vm2', epoch: 2n });
  using good = new QuickOwnership(address, readiness, ordinary, note);
  while (!good.isQuick) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(notes, []);
  assert.deepEqual(await good.take(1n), { owner: 'vm2', epoch: 2n });
  assert.deepEqual(asked, ['take 1'], 'the channel was asked');
  await sdn.close();
  assert.deepEqual(await good.give(2n), { owner: 'vm1', epoch: 3n });
  using bad = new QuickOwnership({ ...address, key: randomBytes(32) }, readiness, ordinary, note);
  while (notes.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await bad.take(5n);
  await bad.lead();
  assert.deepEqual(asked, ['take 1', 'give 2', 'take 5', 'lead']);
  assert.equal(notes.length, 2, 'one line for each that failed');
});
