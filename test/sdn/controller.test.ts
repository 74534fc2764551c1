/** The controller with its record on disk and a kernel that is a fake; and the daemon's rpc face over loopback. No root. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { type Connection, connect } from '../../src/api/client.ts';
import { Sdn } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import { SdnController } from '../../src/sdn/controller.ts';
import { type SdnDaemon, startSdn } from '../../src/sdn/daemon.ts';
import type { Claim, SetOwner } from '../../src/sdn/decisions.ts';
import { FakeDataPlane } from '../../src/sdn/fake-data-plane.ts';
import { describeContent, type KernelChange, NO_CHANGE } from '../../src/sdn/plan.ts';
import { openRecordStore, type RecordStore } from '../../src/sdn/record-store.ts';
import { failureOf, makePki, removeDirectory } from '../api/support.ts';

const SERVICE_ADDRESS = '10.77.0.1';
const CLAIM: Claim = {
  sandbox: 'square',
  address: '10.88.0.5',
  vm: 'vm1',
  vmAddress: '10.77.1.2',
  services: [{ port: 5006, protocol: 'udp', service: 5006 }],
};
const TAKE: SetOwner = {
  sandbox: 'square',
  expectedEpoch: 1n,
  vm: 'vm2',
  vmAddress: '10.77.2.2',
  migrationId: 'm1',
};
const MOVE = {
  sandbox: 'square',
  migrationId: 'm1',
  epoch: 1n,
  from: 'vm1',
  to: 'vm2',
  untilMs: Number.MAX_SAFE_INTEGER,
  lateRoute: false,
};
const ON_VM1 = ['guard 10.88.0.5', 'route 10.88.0.5 via 10.77.1.2', 'service 10.77.0.1:5006/udp to 10.88.0.5:5006'];
const ON_VM2 = ['guard 10.88.0.5', 'route 10.88.0.5 via 10.77.2.2', 'service 10.77.0.1:5006/udp to 10.88.0.5:5006'];

/** A kernel that can be told to refuse. */
class ObstinateDataPlane extends FakeDataPlane {
  refuses: (change: KernelChange) => boolean = () => false;

  override apply(change: KernelChange): void {
    if (this.refuses(change)) throw new Error('the kernel says no');
    super.apply(change);
  }
}

let directory: string;
let store: RecordStore;
let plane: ObstinateDataPlane;
let lines: string[];
const log = (line: string): void => void lines.push(line);
/** What is to be done later: done when a test says so. */
let later: (() => void)[];
const world = () => ({
  dataPlane: plane,
  serviceAddress: SERVICE_ADDRESS,
  log,
  nowMs: () => 0,
  after: (_delayMs: number, run: () => void) => void later.push(run),
});
const start = (): SdnController => new SdnController({ store, ...world() });
const kernel = (): string[] => describeContent(plane.read());

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'comicran-sdn-'));
  store = openRecordStore(directory);
  plane = new ObstinateDataPlane();
  lines = [];
  later = [];
});
afterEach(() => {
  store.close();
  removeDirectory(directory);
});

describe('the controller', () => {
  test('a life: claimed, moved, moved back, released', () => {
    const controller = start();
    controller.claim(CLAIM);
    assert.deepEqual(kernel(), ON_VM1);
    controller.announce(MOVE);
    assert.equal(controller.setOwner(TAKE).changed, true);
    assert.deepEqual(kernel(), ON_VM2);
    assert.equal(controller.setOwner(TAKE).changed, true, 'asked again');
    controller.endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm2' });
    controller.announce({ ...MOVE, migrationId: 'm2', epoch: 2n, from: 'vm2', to: 'vm1' });
    const back = { ...TAKE, vm: 'vm1', vmAddress: '10.77.1.2', expectedEpoch: 2n, migrationId: 'm2' };
    assert.equal(controller.setOwner(back).location.epoch, 3n);
    assert.deepEqual(kernel(), ON_VM1);
    assert.equal(controller.setOwner(TAKE).changed, false, 'old news');
    controller.release({ sandbox: 'square', vm: 'vm1', epoch: 3n });
    assert.deepEqual(kernel(), []);
    // One line a change, none for what changes nothing; the refused compare-and-set is worth one.
    assert.deepEqual(lines, [
      'square 10.88.0.5 on vm1 via 10.77.1.2, epoch 1: new',
      'service 5006/udp leads to square port 5006',
      'square: migration m1 from vm1 to vm2 is announced',
      'square 10.88.0.5 on vm2 via 10.77.2.2, epoch 2: from vm1, epoch 1 (migration m1)',
      'square: migration m1 from vm1 to vm2 is over',
      'square: migration m2 from vm2 to vm1 is announced',
      'square 10.88.0.5 on vm1 via 10.77.1.2, epoch 3: from vm2, epoch 2 (migration m2)',
      'square: vm2 is refused for epoch 1: it belongs to vm1 in epoch 3',
      'square: migration m2 from vm2 to vm1 is over',
      'service 5006/udp of square ended',
      'square 10.88.0.5 ended on vm1',
    ]);
  });

  test('what the record says is there again after a restart, and the kernel is made to follow', () => {
    const first = start();
    first.claim(CLAIM);
    first.announce(MOVE);
    first.setOwner(TAKE);
    store.close();
    plane.flush(); // as after a reboot of the node
    store = openRecordStore(directory);
    const second = start();
    assert.deepEqual(kernel(), ON_VM2);
    assert.deepEqual(second.locate('square'), first.locate('square'));
    assert.equal(second.setOwner(TAKE).changed, true, 'the migration is known across the restart');
    assert.equal(second.services()[0]?.sandbox, 'square');
  });

  const LATE_MOVE = { ...MOVE, lateRoute: true };
  const routeOf = (): string | undefined => plane.read().routes.get(CLAIM.address);
  /** The destination has taken, and the route has not followed. */
  const takenLate = (): SdnController => {
    const controller = start();
    controller.claim(CLAIM);
    controller.announce(LATE_MOVE);
    controller.openRecord(TAKE);
    assert.equal(controller.take(TAKE).vm, 'vm2');
    return controller;
  };

  test('a route that follows later: as it was after the take, after a repair and a new start; changed by the owner', () => {
    takenLate();
    for (const run of later.splice(0)) run();
    assert.equal(routeOf(), CLAIM.vmAddress);
    // Killed, and started again; and once more on a node that has lost everything of its kernel's.
    for (const lost of [false, true]) {
      store.close();
      if (lost) plane.flush();
      store = openRecordStore(directory);
      const again = start();
      again.upkeep();
      assert.equal(routeOf(), CLAIM.vmAddress);
      assert.deepEqual([again.locate('square')?.vm, again.locate('square')?.epoch], ['vm2', 2n]);
    }
    const controller = start();
    assert.equal(controller.setOwner(TAKE).changed, true, 'asked again');
    assert.equal(routeOf(), CLAIM.vmAddress);
    assert.throws(() => controller.lead({ ...TAKE, vm: 'vm1' }), { code: 'ownership.lost' });
    for (let round = 0; round < 2; round++) controller.lead(TAKE);
    assert.equal(routeOf(), TAKE.vmAddress);
    assert.equal(lines.filter((line) => /the route follows to vm2/.test(line)).length, 0, 'said behind the answer');
    for (let round = 0; round < 2; round++) for (const run of later.splice(0)) run();
    assert.equal(lines.filter((line) => /the route follows to vm2/.test(line)).length, 1);
    store.close();
    plane.flush();
    store = openRecordStore(directory);
    start();
    assert.equal(routeOf(), TAKE.vmAddress);
  });

  test('a route that follows later stays where it is when the record is given back', () => {
    const controller = takenLate();
    const routes: (string | undefined)[] = [];
    plane.refuses = ({ setRoutes }) => {
      routes.push(...setRoutes.map(({ via }) => via));
      return false;
    };
    assert.equal(controller.giveBack(TAKE, 2n).vm, 'vm1');
    assert.throws(() => controller.lead(TAKE), { code: 'ownership.lost' }, 'it comes too late');
    assert.deepEqual([routeOf(), ...new Set(routes)], [CLAIM.vmAddress, CLAIM.vmAddress]);
  });

  test('a route that follows later follows with the end of the migration, and by itself when nobody ends it', () => {
    takenLate().endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm2' });
    assert.equal(routeOf(), TAKE.vmAddress);
    assert.equal(start().locate('square')?.via, TAKE.vmAddress);
  });

  test('a route that nobody ever leads follows when the time of the migration is nearly over', () => {
    const timed = { ...world(), nowMs: () => now };
    let now = 0;
    const controller = new SdnController({ store, ...timed });
    controller.claim(CLAIM);
    controller.announce({ ...LATE_MOVE, untilMs: 3_600_000 });
    controller.openRecord(TAKE);
    controller.take(TAKE);
    for (let round = 0; round < 2; round++) for (const run of later.splice(0)) run();
    now = 60_000;
    controller.upkeep();
    assert.equal(routeOf(), CLAIM.vmAddress);
    now = 115_000;
    controller.upkeep();
    assert.equal(routeOf(), TAKE.vmAddress);
  });

  test('a route that the kernel refuses to change stays for another try', () => {
    const controller = takenLate();
    plane.refuses = ({ setRoutes }) => setRoutes.some(({ via }) => via === TAKE.vmAddress);
    assert.throws(() => controller.lead(TAKE), { code: 'peer.refused' });
    assert.equal(store.load().locations.get('square')?.via, CLAIM.vmAddress);
    assert.equal(controller.locate('square')?.vm, 'vm2');
    plane.refuses = () => false;
    controller.lead(TAKE);
    assert.equal(routeOf(), TAKE.vmAddress);
  });

  test('what the kernel has beyond the record is taken away at the start', () => {
    plane.apply({ ...NO_CHANGE, setRoutes: [{ address: '10.88.0.9', via: '10.77.1.2' }] });
    start();
    assert.deepEqual(kernel(), []);
    assert.deepEqual(lines, ['repair: remove route 10.88.0.9']);
  });

  test('a change that the kernel refuses is taken back: record, tables, kernel', () => {
    const controller = start();
    controller.claim(CLAIM);
    controller.announce(MOVE);
    plane.refuses = ({ setRoutes }) => setRoutes.some(({ via }) => via === TAKE.vmAddress);
    assert.throws(() => controller.setOwner(TAKE), { code: 'peer.refused', message: /the kernel says no/ });
    assert.deepEqual(kernel(), ON_VM1);
    assert.equal(controller.locate('square')?.vm, 'vm1');
    assert.equal(store.load().locations.get('square')?.epoch, 1n);
    plane.refuses = () => false;
    assert.equal(controller.setOwner(TAKE).changed, true, 'the same request is good when the kernel is');

    plane.refuses = ({ addTranslations }) => addTranslations.length > 0;
    const other = {
      ...CLAIM,
      sandbox: 'other',
      address: '10.88.0.6',
      services: [{ ...CLAIM.services[0]!, service: 7 }],
    };
    assert.throws(() => controller.claim(other), { code: 'peer.refused' });
    assert.deepEqual(kernel(), ON_VM2);
    assert.equal(controller.locate('other'), undefined);
  });

  test('where it cannot be taken back the record stands, and the kernel is made to follow', () => {
    let writes = 0;
    const failing: RecordStore = {
      load: () => store.load(),
      write(edits) {
        // The claim, the announcement, the change, and then the disk is full.
        if (++writes === 4) throw new Error('disk full');
        store.write(edits);
      },
      writeSoon: (edits) => store.writeSoon(edits),
      flush: (done) => store.flush(done),
      rehearse: (edit) => store.rehearse(edit),
      close: () => store.close(),
    };
    const controller = new SdnController({ store: failing, ...world() });
    controller.claim(CLAIM);
    controller.announce(MOVE);
    plane.refuses = ({ setRoutes }) => setRoutes.length > 0;
    assert.throws(() => controller.setOwner(TAKE), {
      code: 'peer.refused',
      hint: /record has been changed all the same/,
    });
    assert.equal(controller.locate('square')?.vm, 'vm2');
    assert.deepEqual(store.load().locations.get('square'), controller.locate('square'));
    plane.refuses = () => false;
    controller.repair();
    assert.deepEqual(kernel(), ON_VM2);
    assert.equal(controller.setOwner(TAKE).changed, true);
  });

  test('a record that cannot be written changes nothing', () => {
    const controller = start();
    controller.claim(CLAIM);
    controller.announce(MOVE);
    store.close();
    assert.throws(() => controller.setOwner(TAKE), { code: 'sdn.unreachable', message: /cannot write its record/ });
    assert.equal(controller.locate('square')?.vm, 'vm1');
    assert.deepEqual(kernel(), ON_VM1);
  });

  test('a machine that cannot be reached does not become the owner', () => {
    plane = new ObstinateDataPlane((address) => address !== TAKE.vmAddress);
    const controller = start();
    controller.claim(CLAIM);
    controller.announce(MOVE);
    assert.throws(() => controller.setOwner(TAKE), { code: 'vm.unreachable' });
    assert.equal(store.load().locations.get('square')?.vm, 'vm1');
  });

  test('repair brings back what was taken from the kernel, and says once what it cannot', () => {
    const controller = start();
    controller.claim(CLAIM);
    plane.flush();
    lines.length = 0;
    assert.equal(controller.repair(), true);
    assert.deepEqual(kernel(), ON_VM1);
    assert.equal(controller.repair(), false);

    plane.flush();
    plane.refuses = ({ setRoutes }) => setRoutes.length > 0;
    lines.length = 0;
    controller.repair();
    controller.repair();
    assert.deepEqual(kernel(), [ON_VM1[0], ON_VM1[2]], 'the rest is repaired all the same');
    assert.equal(lines.filter((line) => /cannot be set/.test(line)).length, 1);
    plane.refuses = () => false;
    controller.repair();
    assert.deepEqual(kernel(), ON_VM1);
  });
});

describe('the record', () => {
  test('gives back what was written, epochs beyond 2^53 too', () => {
    const location = { ...CLAIM, epoch: 2n ** 60n, migrationId: 'm', via: '10.77.2.2' };
    const { services: _services, ...plain } = location;
    store.write([{ kind: 'put-location', location: plain }]);
    store.close();
    store = openRecordStore(directory);
    assert.deepEqual(store.load().locations.get('square'), plain);
    store.write([{ kind: 'remove-location', location: plain }]);
    assert.deepEqual([store.load().locations.size, store.load().endedEpoch], [0, 2n ** 60n]);
  });

  test('a write that fails in the middle has written nothing', () => {
    const { services: _services, ...plain } = { ...CLAIM, epoch: 1n, migrationId: '', via: CLAIM.vmAddress };
    const orphan = { port: 1, protocol: 'udp', sandbox: 'nobody', sandboxAddress: 'x', sandboxPort: 1 } as const;
    assert.throws(() =>
      store.write([
        { kind: 'put-location', location: plain },
        { kind: 'put-service', service: orphan },
      ]),
    );
    assert.equal(store.load().locations.size, 0);
    store.write([{ kind: 'put-location', location: plain }]);
  });

  test('one process at a time', () => {
    assert.throws(() => openRecordStore(directory), { code: 'usage', message: /another sdn has the state directory/ });
  });

  test('one of the version before: packets go where the owner is', () => {
    const other = join(directory, 'other');
    openRecordStore(other).close();
    const database = new DatabaseSync(join(other, 'record.sqlite'));
    database.exec('ALTER TABLE locations DROP COLUMN via; ALTER TABLE announcements DROP COLUMN late_route');
    database.exec(`INSERT INTO locations VALUES ('square', '10.88.0.5', 'vm1', '10.77.1.2', 4, '')`);
    database.exec('PRAGMA user_version = 2');
    database.close();
    const opened = openRecordStore(other);
    assert.equal(opened.load().locations.get('square')?.via, '10.77.1.2');
    opened.close();
  });

  test('a damaged file, and one of a later version, are refused by name', () => {
    const other = join(directory, 'other');
    openRecordStore(other).close();
    const path = join(other, 'record.sqlite');
    const database = new DatabaseSync(path);
    database.exec('PRAGMA user_version = 9');
    database.close();
    assert.throws(() => openRecordStore(other), { code: 'config.invalid', message: /is of version 9; .* knows 3/ });
    writeFileSync(path, 'this is no database, whatever its name says'.repeat(100));
    assert.throws(() => openRecordStore(other), { code: 'config.invalid', message: /record\.sqlite cannot be read/ });
  });
});

describe('the daemon', () => {
  let pki: string;
  const open: Connection<typeof Sdn>[] = [];
  const running: SdnDaemon[] = [];
  before(async () => {
    pki = await makePki();
  });
  after(() => removeDirectory(pki));
  afterEach(() => {
    for (const connection of open.splice(0)) connection.close();
    return Promise.all(running.splice(0).map((daemon) => daemon.close()));
  });

  const daemon = async (stateDirectory: string) => {
    const started = await startSdn({
      listen: '127.0.0.1:0',
      stateDirectory,
      identity: loadIdentity(pki, 'sdn'),
      serviceAddress: SERVICE_ADDRESS,
      openDataPlane: () => plane,
      log,
    });
    running.push(started);
    return started;
  };
  const dial = (endpoint: string, as: string) => {
    const connection = connect(Sdn, { endpoint, identity: loadIdentity(pki, as), peer: { role: 'sdn' } });
    open.push(connection);
    return connection.client;
  };
  const PORTS = [{ port: 5006, protocol: 'udp', service: 5006 }];
  const { services: _services, ...SQUARE } = CLAIM;

  test('of many that want the ownership at once, one gets it, and all are told who', async () => {
    const sdn = await daemon(join(directory, 'daemon'));
    const [vm1, vm2] = [dial(sdn.endpoint, 'vm1'), dial(sdn.endpoint, 'vm2')];
    await vm1.claim({ ...SQUARE, ports: PORTS });
    for (let round = 1n; round <= 5n; round++) {
      const { location: now } = await vm1.locate({ sandbox: 'square' });
      const [from, to] = now?.vm === 'vm1' ? (['vm1', 'vm2'] as const) : (['vm2', 'vm1'] as const);
      const announce = { sandbox: 'square', migrationId: `${round}`, epoch: round, fromVm: from, toVm: to };
      await (from === 'vm1' ? vm1 : vm2).announceMigration({ ...announce, deadlineMs: 1000 });
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, index) => {
          const [client, vm, vmAddress] =
            index % 2 === 0 ? ([vm1, 'vm1', '10.77.1.2'] as const) : ([vm2, 'vm2', '10.77.2.2'] as const);
          const migrationId = vm === to ? `${round}` : `fence ${index}`;
          return client.setOwner({ sandbox: 'square', expectedEpoch: round, vm, vmAddress, migrationId });
        }),
      );
      const winners = answers.filter(({ changed }) => changed);
      // The owner fences with a name of its own each time; the destination asks for the same thing again.
      assert.equal(winners.length, winners[0]?.location?.vm === to ? 20 : 1);
      const { location } = await vm1.locate({ sandbox: 'square' });
      assert.equal(location?.epoch, round + 1n);
      for (const answer of answers) assert.deepEqual(answer.location, location);
      assert.ok(kernel().includes(`route 10.88.0.5 via ${location.vmAddress}`));
    }
    await sdn.close();
    await sdn.close();
  });

  test('an sdaemon acts in its own name alone, smanager in any', async () => {
    const sdn = await daemon(join(directory, 'daemon'));
    const [vm1, vm2, manager] = ['vm1', 'vm2', 'smanager'].map((name) => dial(sdn.endpoint, name)) as [
      ReturnType<typeof dial>,
      ReturnType<typeof dial>,
      ReturnType<typeof dial>,
    ];
    await vm1.claim({ ...SQUARE, ports: PORTS });
    const take = { sandbox: 'square', expectedEpoch: 1n, vm: 'vm2', vmAddress: '10.77.2.2', migrationId: 'x' };
    const service = { port: 80, protocol: 'udp', sandbox: 'square', sandboxPort: 80 };
    const refused: (() => Promise<unknown>)[] = [
      () => vm2.claim({ ...SQUARE, sandbox: 'other', address: '10.88.0.6' }),
      () => vm1.setOwner(take),
      () => vm2.release({ sandbox: 'square', vm: 'vm1', epoch: 1n }),
      () => vm2.setService({ service }),
      () => vm2.unsetService({ port: 5006, protocol: 'udp' }),
    ];
    for (const call of refused) assert.equal((await failureOf(call())).code, 'peer.refused');
    await manager.setService({ service });
    assert.equal((await vm1.listServices({})).services.length, 2);
    await vm1.unsetService({ port: 80, protocol: 'udp' });
    assert.deepEqual((await manager.listServices({})).services.length, 1);
    const taken = await failureOf(vm2.claim({ ...SQUARE, vm: 'vm2', vmAddress: '10.77.2.2' }));
    assert.equal(taken.code, 'sandbox.exists');
    assert.equal(
      (await failureOf(manager.release({ sandbox: 'square', vm: 'vm1', epoch: 9n }))).code,
      'ownership.lost',
    );
    await manager.release({ sandbox: 'square', vm: 'vm1', epoch: 1n });
    assert.equal((await vm1.locate({ sandbox: 'square' })).location, undefined);
    await sdn.close();
  });

  test('of two daemons with one record the second ends, and touches nothing', async () => {
    const state = join(directory, 'daemon');
    const sdn = await daemon(state);
    let opened = false;
    const second = startSdn({
      listen: '127.0.0.1:0',
      stateDirectory: state,
      identity: loadIdentity(pki, 'sdn'),
      serviceAddress: SERVICE_ADDRESS,
      openDataPlane: () => {
        opened = true;
        return plane;
      },
      log,
    });
    assert.equal((await failureOf(second)).code, 'usage');
    assert.equal(opened, false);
    await sdn.close();
    await (await daemon(state)).close();
  });
});
