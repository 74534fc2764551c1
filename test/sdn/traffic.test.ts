/** Real packets through the real tables: client, sdn node and two machines in namespaces of their own. Needs root. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { ETHER_TYPE, encodeFrame } from '../../src/base/packets/ethernet.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { FrameSender } from '../../src/linux/packet-socket.ts';
import { getLink, macBytes, RouteSocket } from '../../src/linux/rtnetlink/index.ts';
import { SdnController } from '../../src/sdn/controller.ts';
import type { DataPlane } from '../../src/sdn/data-plane.ts';
import type { Claim } from '../../src/sdn/decisions.ts';
import { openKernelDataPlane } from '../../src/sdn/kernel-data-plane.ts';
import { openRecordStore, type RecordStore } from '../../src/sdn/record-store.ts';
import { removeDirectory } from '../api/support.ts';
import { needs } from '../support/needs.ts';
import { udpSocketIn } from '../support/udp.ts';
import { makeTopology, SERVICE_ADDRESS, type Topology, VM_ADDRESS } from './topology.ts';

const SERVICE_PORT = 5006;
const SANDBOX_PORT = 6000;
const QUIET_MS = 300;
/** For what must come: how busy the machine is says nothing about whether it does. */
const PATIENCE_MS = 20_000;

/** What is to be done later: done where a test says so. */
const later: (() => void)[] = [];
const WORLD = {
  serviceAddress: SERVICE_ADDRESS,
  nowMs: Date.now,
  after: (_delayMs: number, run: () => void) => void later.push(run),
};

const claimOf = (address: string): Claim => ({
  sandbox: 'square',
  address,
  vm: 'vm1',
  vmAddress: VM_ADDRESS.vm1,
  services: [{ port: SANDBOX_PORT, protocol: 'udp', service: SERVICE_PORT }],
});

type Answer = { readonly text: string; readonly from: string };

/** Everything that arrives at a socket, and waiting until nothing does any more. */
function collect(socket: Socket) {
  const answers: Answer[] = [];
  socket.on('message', (message, from) => {
    answers.push({ text: message.toString(), from: `${from.address}:${from.port}` });
  });
  return {
    answers,
    /** @returns when `count` have come, or have been waited for long enough. */
    async settle(count: number): Promise<Answer[]> {
      const deadline = performance.now() + PATIENCE_MS;
      while (answers.length < count && performance.now() < deadline) await sleep(5);
      return answers;
    },
  };
}

describe('traffic through the sdn node', { skip: needs('root') }, () => {
  let topology: Topology;
  let directory: string;
  let store: RecordStore;
  let plane: DataPlane;
  let controller: SdnController;
  const sockets: Socket[] = [];

  function open(node: 'ue' | 'vm1' | 'vm2', address: string, port = 0): Socket {
    const socket = udpSocketIn(topology.netns[node], address, port);
    sockets.push(socket);
    return socket;
  }

  /** A server that answers with its machine's name. */
  function serve(node: 'vm1' | 'vm2', address: string): void {
    const socket = open(node, address, SANDBOX_PORT);
    socket.on('message', (message, from) => socket.send(`${node} ${message}`, from.port, from.address));
  }

  before(() => {
    topology = makeTopology();
    for (const address of ['10.88.0.5', '10.88.0.6']) {
      topology.addSandboxAddress('vm1', address);
      topology.addSandboxAddress('vm2', address);
    }
  });
  after(() => topology.close());
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-sdn-'));
    store = openRecordStore(directory);
    controller = inNetns(topology.netns.sdn, () => {
      plane = openKernelDataPlane();
      return new SdnController({ store, dataPlane: plane, ...WORLD, log: () => {} });
    });
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
    later.length = 0;
    plane.flush();
    plane.close();
    store.close();
    removeDirectory(directory);
  });

  test('1,000 requests while the owner changes 10 times: each answered once, from the service address', async () => {
    serve('vm1', '10.88.0.5');
    serve('vm2', '10.88.0.5');
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const client = open('ue', '10.77.0.2');
    const received = collect(client);
    let epoch = location.epoch;
    for (let i = 0; i < 1000; i++) {
      client.send(`${i}`, SERVICE_PORT, SERVICE_ADDRESS);
      if (i % 100 === 50) {
        const vm = (i / 50) % 4 === 1 ? 'vm2' : 'vm1';
        const migrationId = `${i}`;
        const from = vm === 'vm2' ? 'vm1' : 'vm2';
        const untilMs = Date.now() + 60_000;
        controller.announce({ sandbox: 'square', migrationId, epoch, from, to: vm, untilMs, lateRoute: false });
        const vmAddress = VM_ADDRESS[vm];
        controller.openRecord({ sandbox: 'square', migrationId, expectedEpoch: epoch, vm, vmAddress });
        const request = { sandbox: 'square', expectedEpoch: epoch, vm, vmAddress, migrationId };
        assert.equal(controller.setOwner(request).changed, true);
        epoch++;
      }
      if (i % 2 === 1) await sleep(1);
    }
    const answers = await received.settle(1000);
    assert.equal(epoch, location.epoch + 10n);
    const numbers = answers.map(({ text }) => Number(text.split(' ')[1])).toSorted((a, b) => a - b);
    assert.deepEqual(
      numbers,
      Array.from({ length: 1000 }, (_, i) => i),
    );
    assert.deepEqual(new Set(answers.map(({ from }) => from)), new Set([`${SERVICE_ADDRESS}:${SERVICE_PORT}`]));
    assert.deepEqual(new Set(answers.map(({ text }) => text.split(' ')[0])), new Set(['vm1', 'vm2']));
    const [service] = controller.services();
    assert.equal(service?.packets, 1000n);
    assert.ok(service.bytes > 28_000n, 'with their headers');
  });

  test('a request that a machine sends back is answered from the service address', async () => {
    serve('vm1', '10.88.0.5');
    serve('vm2', '10.88.0.5');
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const client = open('ue', '10.77.0.2');
    const received = collect(client);
    client.send('first', SERVICE_PORT, SERVICE_ADDRESS);
    await received.settle(1);
    const { epoch } = location;
    controller.announce({ ...MOVE, epoch });
    controller.openRecord({
      sandbox: 'square',
      migrationId: 'm',
      expectedEpoch: epoch,
      vm: 'vm2',
      vmAddress: VM_ADDRESS.vm2,
    });
    assert.equal(controller.setOwner({ ...TAKE, expectedEpoch: epoch }).changed, true);
    const datagram = {
      sourceAddress: ipv4Bytes('10.77.0.2'),
      sourcePort: client.address().port,
      destinationAddress: ipv4Bytes('10.88.0.5'),
      destinationPort: SANDBOX_PORT,
      payload: Buffer.from('second'),
    };
    const [packet] = encodePackets(datagram, 1500, 1);
    inNetns(topology.netns.vm1, () => {
      using routes = new RouteSocket();
      const { index, mac } = getLink(routes, 'eth0');
      using sender = new FrameSender(index, { bypass: false });
      const frame = encodeFrame(
        macBytes(getLink(topology.sdnRoutes, 'vm1').mac),
        macBytes(mac),
        ETHER_TYPE.IPV4,
        packet!,
      );
      assert.ok(sender.trySend(frame));
    });
    await received.settle(2);
    const from = `${SERVICE_ADDRESS}:${SERVICE_PORT}`;
    assert.deepEqual(received.answers, [
      { text: 'vm1 first', from },
      { text: 'vm2 second', from },
    ]);
  });

  /** Who of the machines is heard, when each says something in the sandbox's name. @param count as many are waited for */
  async function heard(count = 1): Promise<string[]> {
    const client = open('ue', '10.77.0.2');
    const received = collect(client);
    for (const node of ['vm1', 'vm2'] as const) {
      const speaker = open(node, '10.88.0.5');
      speaker.send(`from ${node}`, client.address().port, '10.77.0.2');
    }
    await received.settle(count);
    await sleep(QUIET_MS);
    return received.answers.map(({ text }) => text).toSorted();
  }
  const refusedSoFar = (): bigint => controller.refusedPackets().get('square') ?? -1n;
  const MOVE = {
    sandbox: 'square',
    migrationId: 'm',
    from: 'vm1',
    to: 'vm2',
    untilMs: Date.now() + 600_000,
    lateRoute: false,
  };
  const TAKE = { sandbox: 'square', migrationId: 'm', vm: 'vm2', vmAddress: VM_ADDRESS.vm2 };

  test('what a machine that does not own says in the name of a sandbox is dropped and counted', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    assert.deepEqual(await heard(), ['from vm1']);
    assert.equal(refusedSoFar(), 1n);
    controller.announce({ ...MOVE, epoch: location.epoch });
    assert.deepEqual(await heard(), ['from vm1'], 'announced, and the destination has not come yet');
    assert.equal(refusedSoFar(), 2n);
    controller.release({ sandbox: 'square', vm: 'vm1', epoch: location.epoch });
    // An address of nobody is nobody's to guard.
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2']);
  });

  test('in a migration both are heard, and behind the change of the owner it alone', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const expectedEpoch = location.epoch;
    controller.announce({ ...MOVE, epoch: expectedEpoch });
    controller.openRecord({ ...TAKE, expectedEpoch });
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2']);
    assert.equal(controller.take({ ...TAKE, expectedEpoch }).vm, 'vm2');
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2'], 'what is on its way still comes');
    for (const run of later.splice(0)) run(); // flushes, and says what is to be done later
    for (const run of later.splice(0)) run(); // settles: a second from now
    await sleep(2_100);
    assert.equal(refusedSoFar(), 0n);
    assert.deepEqual(await heard(), ['from vm2']);
    assert.equal(refusedSoFar(), 1n);
  });

  test('where the route follows later, both are heard until it has, and requests go where they went', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const expectedEpoch = location.epoch;
    const routed = (): string | undefined => plane.read().routes.get('10.88.0.5');
    controller.announce({ ...MOVE, epoch: expectedEpoch, lateRoute: true });
    controller.openRecord({ ...TAKE, expectedEpoch });
    assert.equal(controller.take({ ...TAKE, expectedEpoch }).vm, 'vm2');
    for (let round = 0; round < 2; round++) for (const run of later.splice(0)) run();
    await sleep(2_100);
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2']);
    controller.repair();
    assert.equal(routed(), VM_ADDRESS.vm1);
    controller.lead(TAKE);
    assert.equal(routed(), VM_ADDRESS.vm2);
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2'], 'what is on its way still comes');
    for (let round = 0; round < 2; round++) for (const run of later.splice(0)) run();
    await sleep(2_100);
    assert.deepEqual(await heard(), ['from vm2']);
  });

  test('a word of the destination ends it at once', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    controller.announce({ ...MOVE, epoch: location.epoch });
    controller.openRecord({ ...TAKE, expectedEpoch: location.epoch });
    controller.take({ ...TAKE, expectedEpoch: location.epoch });
    controller.endMigration({ sandbox: 'square', migrationId: 'm', vm: 'vm2' });
    assert.deepEqual(await heard(), ['from vm2']);
    assert.equal(refusedSoFar(), 1n);
  });

  test('when the source fences, the destination is not heard any more, whatever it believes', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const expectedEpoch = location.epoch;
    controller.announce({ ...MOVE, epoch: expectedEpoch });
    controller.openRecord({ ...TAKE, expectedEpoch });
    assert.deepEqual(await heard(2), ['from vm1', 'from vm2']);
    controller.take({ ...TAKE, expectedEpoch, vm: 'vm1', vmAddress: VM_ADDRESS.vm1 });
    assert.deepEqual(await heard(), ['from vm1']);
    assert.equal(refusedSoFar(), 1n);
    assert.equal(controller.take({ ...TAKE, expectedEpoch }).vm, 'vm1');
    assert.deepEqual(await heard(), ['from vm1']);
    assert.equal(refusedSoFar(), 2n);
  });

  test('a passage ends by itself, without the controller', async () => {
    const { location } = controller.claim(claimOf('10.88.0.5'));
    controller.announce({ ...MOVE, epoch: location.epoch, untilMs: Date.now() + 3_000 });
    controller.openRecord({ ...TAKE, expectedEpoch: location.epoch });
    assert.ok(plane.read().passages.has('10.88.0.5 from vm2'));
    const deadline = performance.now() + PATIENCE_MS;
    while ((await heard()).length > 1) assert.ok(performance.now() < deadline, 'it has not ended');
    assert.deepEqual(await heard(), ['from vm1']);
    assert.equal(controller.repair(), false, 'as it should be');
  });

  test('a client that asked before there was a service is answered after', async () => {
    const client = open('ue', '10.77.0.2');
    client.on('error', () => {}); // the node says that nobody listens
    const received = collect(client);
    client.send('early', SERVICE_PORT, SERVICE_ADDRESS);
    await sleep(50);
    serve('vm1', '10.88.0.5');
    controller.claim(claimOf('10.88.0.5'));
    client.send('late', SERVICE_PORT, SERVICE_ADDRESS);
    assert.deepEqual(
      (await received.settle(1)).map(({ text }) => text),
      ['vm1 late'],
    );
  });

  test('a client of a sandbox that came back with another address reaches the new one', async () => {
    serve('vm1', '10.88.0.5');
    const { location } = controller.claim(claimOf('10.88.0.5'));
    const client = open('ue', '10.77.0.2');
    const received = collect(client);
    client.send('1', SERVICE_PORT, SERVICE_ADDRESS);
    await received.settle(1);
    controller.release({ sandbox: 'square', vm: 'vm1', epoch: location.epoch });
    sockets.pop(); // the client stays, the server of the old address goes
    sockets.pop()?.close();
    sockets.push(client);
    serve('vm1', '10.88.0.6');
    controller.claim(claimOf('10.88.0.6'));
    client.send('2', SERVICE_PORT, SERVICE_ADDRESS);
    assert.deepEqual(
      (await received.settle(2)).map(({ text }) => text),
      ['vm1 1', 'vm1 2'],
    );
  });

  test('traffic goes on while the controller is away and comes back, and the counts with it', async () => {
    serve('vm1', '10.88.0.5');
    controller.claim(claimOf('10.88.0.5'));
    const client = open('ue', '10.77.0.2');
    const ask = async (text: string): Promise<string> => {
      client.send(text, SERVICE_PORT, SERVICE_ADDRESS);
      return String((await once(client, 'message'))[0]);
    };
    assert.equal(await ask('1'), 'vm1 1');
    plane.close();
    store.close();
    assert.equal(await ask('2'), 'vm1 2');
    store = openRecordStore(directory);
    const lines: string[] = [];
    controller = inNetns(topology.netns.sdn, () => {
      plane = openKernelDataPlane();
      const log = (line: string): void => void lines.push(line);
      return new SdnController({ store, dataPlane: plane, ...WORLD, log });
    });
    assert.deepEqual(lines, [], 'nothing had to be repaired');
    assert.equal(await ask('3'), 'vm1 3');
    assert.equal(controller.services()[0]?.packets, 3n);
  });
});
