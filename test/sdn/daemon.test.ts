/** The program `comicran sdn`, in the kernel, killed and started again. Needs root. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Client } from '@connectrpc/connect';
import { type Connection, connect } from '../../src/api/client.ts';
import { Sdn } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import { enterNetworkNamespace } from '../../src/linux/netns.ts';
import { Nftables } from '../../src/linux/nftables.ts';
import { Readiness } from '../../src/sdaemon/readiness.ts';
import { openFastRecord } from '../../src/sdaemon/record/fast-record.ts';
import type { FaultPoint } from '../../src/sdn/controller.ts';
import { KernelDataPlane } from '../../src/sdn/kernel-data-plane.ts';
import { describeContent } from '../../src/sdn/plan.ts';
import { failureOf, makePki, removeDirectory } from '../api/support.ts';
import { needs } from '../support/needs.ts';
import { makeTopology, SERVICE_ADDRESS, type Topology, VM_ADDRESS } from './topology.ts';

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');
const FAULTY = join(import.meta.dirname, 'faulty-sdn.ts');
const LISTEN = `${SERVICE_ADDRESS}:7430`;
const SQUARE = { sandbox: 'square', address: '10.88.0.5', vm: 'vm1', vmAddress: VM_ADDRESS.vm1 };
const PORTS = [{ port: 5006, protocol: 'udp', service: 5006 }];
const TAKE = {
  sandbox: 'square',
  expectedEpoch: 1n,
  vm: 'vm2',
  vmAddress: VM_ADDRESS.vm2,
  migrationId: 'm1',
};
const ON_VM1 = ['guard 10.88.0.5', 'route 10.88.0.5 via 10.77.1.2', 'service 10.77.0.1:5006/udp to 10.88.0.5:5006'];
const ON_VM2 = ['guard 10.88.0.5', 'route 10.88.0.5 via 10.77.2.2', 'service 10.77.0.1:5006/udp to 10.88.0.5:5006'];

const MOVE = { sandbox: 'square', migrationId: 'm1', epoch: 1n, fromVm: 'vm1', toVm: 'vm2', deadlineMs: 10_000 };

describe('comicran sdn', { skip: needs('root') }, () => {
  let topology: Topology;
  let pki: string;
  let state: string;
  const children: ChildProcess[] = [];
  const open: Connection<typeof Sdn>[] = [];

  before(async () => {
    pki = await makePki();
    topology = makeTopology();
    // For good: this program is the one test file, and everything in it happens on the sdn node.
    enterNetworkNamespace({ path: `/proc/self/fd/${topology.netns.sdn}` });
  });
  after(() => {
    topology.close();
    removeDirectory(pki);
  });
  beforeEach(() => {
    state = mkdtempSync(join(tmpdir(), 'comicran-sdn-'));
  });
  afterEach(async () => {
    for (const connection of open.splice(0)) connection.close();
    for (const child of children.splice(0)) await end(child, 'SIGKILL');
    using plane = new KernelDataPlane();
    plane.flush();
    removeDirectory(state);
  });

  /** Starts a program and waits until it says that it listens. */
  async function start(command: string, words: readonly string[]): Promise<{ child: ChildProcess; log: () => string }> {
    const child = spawn(command, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    let printed = '';
    const listening = Promise.withResolvers<void>();
    child.stderr?.on('data', (data: Buffer) => {
      printed += data.toString();
      if (printed.includes('listens on')) listening.resolve();
    });
    child.once('exit', (code) => listening.reject(new Error(`it ended with ${code}: ${printed}`)));
    await listening.promise;
    return { child, log: () => printed };
  }
  const startSdn = (...more: string[]) =>
    start(COMICRAN, [
      'sdn',
      ...['--listen', LISTEN, '--state', state, '--pki', pki, '--service-address', SERVICE_ADDRESS],
      ...more,
    ]);
  const startFaulty = (point: FaultPoint) =>
    start(process.execPath, [FAULTY, point, LISTEN, state, pki, SERVICE_ADDRESS]);

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill(signal);
      await exit;
    }
    return child.exitCode;
  }

  function dial(as: string): Client<typeof Sdn> {
    const connection = connect(Sdn, { endpoint: LISTEN, identity: loadIdentity(pki, as), peer: { role: 'sdn' } });
    open.push(connection);
    return connection.client;
  }

  function kernel(): string[] {
    using plane = new KernelDataPlane();
    return describeContent(plane.read());
  }

  test('started, used, stopped: what it has set stays, and a new start finds it', async () => {
    const first = await startSdn();
    await dial('vm1').claim({ ...SQUARE, ports: PORTS });
    await dial('vm1').announceMigration(MOVE);
    await dial('vm2').setOwner(TAKE);
    assert.equal(await end(first.child, 'SIGTERM'), 0);
    assert.match(first.log(), /sdn: square 10\.88\.0\.5 on vm2 .*epoch 2: from vm1, epoch 1 \(migration m1\)\n/);
    assert.match(first.log(), /sdn: stops on SIGTERM\n$/);
    assert.deepEqual(kernel(), ON_VM2);
    const second = await startSdn();
    const { locations } = await dial('smanager').listLocations({});
    assert.deepEqual(
      locations.map(({ sandbox, vm, epoch }) => [sandbox, vm, epoch]),
      [['square', 'vm2', 2n]],
    );
    assert.match(second.log(), /knows 1 sandboxes/);
  });

  test('flush removes tables and routes, but not under a running sdn, and not the record', async () => {
    const { child } = await startSdn();
    await dial('vm1').claim({ ...SQUARE, ports: PORTS });
    const flush = () => spawnSync(COMICRAN, ['sdn', 'flush', '--state', state], { encoding: 'utf8' });
    const refused = flush();
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /another sdn has the state directory/);
    assert.deepEqual(kernel(), ON_VM1);
    await end(child, 'SIGINT');
    assert.equal(flush().status, 0);
    using nft = new Nftables();
    assert.equal(nft.list({ table: { family: 'ip', name: 'comicran' } }), undefined);
    await startSdn();
    assert.deepEqual(kernel(), ON_VM1);
  });

  test('--flush-at-exit leaves nothing in the kernel', async () => {
    const { child } = await startSdn('--flush-at-exit');
    await dial('vm1').claim({ ...SQUARE, ports: PORTS });
    assert.equal(await end(child, 'SIGTERM'), 0);
    using nft = new Nftables();
    assert.equal(nft.list({ table: { family: 'ip', name: 'comicran' } }), undefined);
  });

  test('what a record channel has answered is there after kill -9', async () => {
    const { child } = await startSdn();
    await dial('vm1').claim({ ...SQUARE, ports: PORTS });
    await dial('vm1').announceMigration(MOVE);
    const { port, key } = await dial('vm2').openRecordChannel(TAKE);
    const readiness = new Readiness(() => performance.now());
    using record = await openFastRecord({ address: SERVICE_ADDRESS, port, key }, readiness, 2000);
    await record.ping();
    const taken = await record.take(1n);
    child.kill('SIGKILL');
    await once(child, 'exit');
    assert.deepEqual(taken, { owner: 'vm2', epoch: 2n });
    assert.ok(ON_VM2.every((line) => kernel().includes(line)));
    await startSdn();
    const { location } = await dial('vm2').locate({ sandbox: 'square' });
    assert.deepEqual([location?.vm, location?.epoch], ['vm2', 2n]);
    const again = await dial('vm2').setOwner(TAKE);
    assert.deepEqual([again.changed, again.location?.epoch], [true, 2n]);
    await dial('vm2').endMigration({ sandbox: 'square', migrationId: 'm1', vm: 'vm2' });
    assert.deepEqual(kernel(), ON_VM2);
  });

  // What the record, the kernel and the next start say when it dies at each point of a change of the owner.
  const points: [FaultPoint, string[], boolean][] = [
    ['decided', ON_VM1, false],
    ['recorded', ON_VM1, true],
    ['applied', ON_VM2, true],
  ];
  for (const [point, inKernel, isRecorded] of points) {
    test(`killed when a change of the owner is ${point}: record and kernel agree after the start`, async () => {
      const { child } = await startFaulty(point);
      await dial('vm1').claim({ ...SQUARE, ports: PORTS });
      await dial('vm1').announceMigration(MOVE);
      const died = once(child, 'exit');
      assert.equal((await failureOf(dial('vm2').setOwner(TAKE))).code, 'sdn.unreachable');
      await died;
      assert.equal(child.signalCode, 'SIGKILL');
      assert.deepEqual(kernel(), inKernel);

      await startSdn();
      const client = dial('vm2');
      const { location } = await client.locate({ sandbox: 'square' });
      assert.deepEqual([location?.vm, location?.epoch], isRecorded ? ['vm2', 2n] : ['vm1', 1n]);
      assert.deepEqual(kernel(), isRecorded ? ON_VM2 : ON_VM1);
      // Asked again with the same migration: it is the owner, and by one change alone.
      const again = await client.setOwner(TAKE);
      assert.deepEqual([again.changed, again.location?.epoch], [true, 2n]);
      assert.deepEqual(kernel(), ON_VM2);
    });
  }

  test('what it is started with is checked, and the next step is said', () => {
    const run = (...words: string[]) => spawnSync(COMICRAN, ['sdn', ...words], { encoding: 'utf8' });
    const bare = run();
    assert.equal(bare.status, 1);
    assert.match(
      bare.stderr,
      /the sdn needs --listen, --state, --pki, --service-address\n *next: For example: comicran/,
    );
    assert.match(run('--listen', LISTEN, '--state', state, '--pki', pki).stderr, /the sdn needs --service-address\n/);
    const words = ['--listen', LISTEN, '--state', state, '--service-address', SERVICE_ADDRESS, '--pki'];
    assert.match(run(...words, '/nonexistent').stderr, /\/nonexistent\/ca\.pem cannot be read[\s\S]*next: .*pki init/);
    assert.match(run('flush').stderr, /flush needs --state/);
    assert.match(run('flush', '--state', '/nonexistent').stderr, /\/nonexistent does not exist; nothing was removed/);
  });
});
