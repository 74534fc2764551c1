/** Needs root. Packets that come before the sandbox's process runs here wait, and none is lost or overtaken. */
import assert from 'node:assert/strict';
import { promises } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import { ENODEV } from '../../src/linux/errno.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { PacketSender } from '../../src/linux/raw-socket.ts';
import {
  deleteLink,
  findDiscipline,
  getLink,
  listRoutes,
  listRules,
  lookUpRoute,
  replaceRoute,
  setLink,
} from '../../src/linux/rtnetlink/index.ts';
import { SandboxPackets } from '../../src/sdaemon/dataplane/destination-packets.ts';
import { raiseReceiveBuffers } from '../../src/sdaemon/dataplane/receive-buffers.ts';
import { needs } from '../support/needs.ts';
import {
  delivered,
  ended,
  hasRead,
  joinClient,
  LINK_NAME,
  makeNetns,
  makeVm,
  type Program,
  SANDBOX_ADDRESS,
  SANDBOX_MAC,
  startProgram,
  type Vm,
} from './support.ts';

const PORT = 5006;
const REMOTE = ipv4Bytes('192.0.2.7');

function numbered(number: number): {
  readonly packet: Buffer;
  readonly datagram: Parameters<SandboxPackets['inject']>[0];
} {
  const payload = Buffer.alloc(32);
  payload.writeUInt32LE(number);
  const datagram = {
    sourceAddress: REMOTE,
    sourcePort: 9,
    destinationAddress: ipv4Bytes(SANDBOX_ADDRESS),
    destinationPort: PORT,
    payload,
  };
  return { datagram, packet: encodePackets(datagram, 1500, number)[0]! };
}

describe('hold', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  type World = {
    readonly vm: Vm;
    readonly packets: SandboxPackets;
    /** A datagram by the route, not past it. */
    readonly route: (number: number) => void;
    /** What the server got, in order. Ends it. */
    readonly served: () => Promise<number[]>;
    readonly again: () => SandboxPackets;
  };

  async function makeWorld(): Promise<World> {
    const vm = makeVm(undo, { routed: false });
    const { child, lines, pid } = await startProgram(undo, vm.sandbox, 'counting-server', [String(PORT)]);
    raiseReceiveBuffers(pid);
    const network = { linkName: LINK_NAME, address: SANDBOX_ADDRESS, mac: SANDBOX_MAC, pid };
    const again = (): SandboxPackets => {
      const packets = inNetns(vm.netns, () => new SandboxPackets(network));
      undo(() => packets.close());
      return packets;
    };
    const sender = inNetns(vm.netns, () => new PacketSender(4));
    undo(() => sender.close());
    const destination = ipv4Bytes(SANDBOX_ADDRESS);
    return {
      vm,
      packets: again(),
      again,
      route: (number) => assert.ok(sender.trySend(numbered(number).packet, destination)),
      served: () => servedBy(child, pid, lines),
    };
  }

  async function servedBy(child: Program, pid: number, lines: AsyncIterator<string>): Promise<number[]> {
    await hasRead(pid);
    child.kill('SIGTERM');
    const { value } = await lines.next();
    await ended(child);
    return JSON.parse(value as string) as number[];
  }

  const disciplineOf = (vm: Vm) => findDiscipline(vm.routes, getLink(vm.routes, LINK_NAME).index);
  const routedTo = (vm: Vm) =>
    listRoutes(vm.routes).filter(({ destination }) => destination === `${SANDBOX_ADDRESS}/32`);

  test('packets wait in the order in which they came, behind everything that is injected', async () => {
    const { packets, route, served } = await makeWorld();
    await packets.hold();
    for (let number = 100; number < 200; number++) route(number);
    for (let number = 0; number < 100; number++) packets.inject(numbered(number).datagram);
    assert.deepEqual(await packets.release(), { held: 100, lost: 0 });
    for (let number = 200; number < 300; number++) route(number);
    for (let number = 300; number < 310; number++) packets.inject(numbered(number).datagram);
    assert.deepEqual(await served(), [...Array(310).keys()]);
  });

  test('nothing passes before the release, however often it is held', async () => {
    const { packets, route, served, vm } = await makeWorld();
    await packets.hold();
    route(0);
    await packets.hold();
    for (let number = 1; number < 50; number++) route(number);
    await delivered();
    assert.equal(disciplineOf(vm)?.waitingPackets, 50);
    assert.deepEqual(await served(), []);
  });

  test('the hold survives the one who made it, and another one ends it', async () => {
    const { packets, again, route, served } = await makeWorld();
    await packets.hold();
    route(0);
    packets.close();
    packets.close();
    route(1);
    const later = again();
    assert.deepEqual(await later.release(), { held: 2, lost: 0 });
    assert.deepEqual(await later.release(), { held: 0, lost: 0 }, 'a second release does nothing');
    route(2);
    assert.deepEqual(await served(), [0, 1, 2]);
  });

  test('a release without a hold leads the address to the sandbox', async () => {
    const { packets, route, served } = await makeWorld();
    assert.deepEqual(await packets.release(), { held: 0, lost: 0 });
    route(0);
    assert.deepEqual(await served(), [0]);
  });

  test('a discard leaves no route and no queue, and throws away what waited', async () => {
    const { packets, route, served, vm } = await makeWorld();
    await packets.discard();
    await packets.hold();
    assert.equal(routedTo(vm).length, 1);
    for (let number = 0; number < 5; number++) route(number);
    await packets.discard();
    await packets.discard();
    assert.equal(routedTo(vm).length, 0);
    assert.equal(disciplineOf(vm)?.kind, 'noqueue');
    assert.deepEqual(await served(), []);
  });

  test('with an uplink only what comes in by it is led to the sandbox before the release', async () => {
    const { packets, vm } = await makeWorld();
    const client = makeNetns(undo);
    joinClient(vm, client);
    const link = getLink(vm.routes, 'client').index;
    vm.routes.apply(replaceRoute({ destination: 'default', link, gateway: '10.1.0.2' }));
    const rules = listRules(vm.routes).length;
    for (let round = 0; round < 2; round++) {
      await packets.hold();
      await packets.hold();
      assert.deepEqual(
        routedTo(vm).map(({ table }) => table),
        [0xc0de],
      );
      assert.equal(listRules(vm.routes).length, rules + 1);
      assert.equal(lookUpRoute(vm.routes, SANDBOX_ADDRESS).link, link, 'this machine asks the network');
      if (round === 0) await packets.discard();
      else await packets.release();
      assert.equal(listRules(vm.routes).length, rules);
      assert.deepEqual(
        routedTo(vm).map(({ table }) => table),
        round === 0 ? [] : [254],
      );
    }
    vm.routes.apply(deleteLink(LINK_NAME));
    await packets.discard();
    assert.equal(listRules(vm.routes).length, rules);
  });

  test('what does not fit is counted', async () => {
    const { packets, vm } = await makeWorld();
    await packets.hold();
    const limit = 32_768;
    // From outside: what waits of a local socket counts against the socket's own memory.
    const client = makeNetns(undo);
    joinClient(vm, client);
    const sender = inNetns(client.netns, () => new PacketSender(4));
    undo(() => sender.close());
    const { packet } = numbered(0);
    const destination = ipv4Bytes(SANDBOX_ADDRESS);
    for (let number = 0; number < limit + 7; number++) {
      while (!sender.trySend(packet, destination));
      // The first one is followed by the question for the gateway's address; and no CPU's backlog is to be overrun.
      if (number % 200 === 0) await delivered();
    }
    await delivered();
    assert.equal(disciplineOf(vm)?.waitingPackets, limit);
    const { held, lost } = await packets.release();
    assert.deepEqual({ held, lost }, { held: limit, lost: 7 });
  });

  test('a link that is down or gone', async () => {
    const { packets, vm } = await makeWorld();
    await packets.hold();
    vm.routes.apply(setLink(LINK_NAME, { up: false }));
    await packets.discard();
    await assert.rejects(packets.hold(), { code: 'sandbox.not-running' });
    vm.routes.applyUnless(deleteLink(LINK_NAME), ENODEV);
    await packets.discard();
    assert.deepEqual(await packets.release(), { held: 0, lost: 0 });
    await assert.rejects(packets.hold(), { code: 'sandbox.not-running' });
  });

  test('under 10,000 packets a second nothing is lost and nothing overtakes at a release', async () => {
    const { vm, packets, served } = await makeWorld();
    const client = makeNetns(undo);
    joinClient(vm, client);
    await packets.hold();
    const total = 6000;
    const sender = await startProgram(undo, client.netns, 'sender', [
      SANDBOX_ADDRESS,
      String(PORT),
      '10000',
      `${total}`,
    ]);
    while ((disciplineOf(vm)?.waitingPackets ?? 0) < 500) await new Promise((resolve) => setTimeout(resolve, 1));
    const { held, lost } = await packets.release();
    assert.equal((await sender.lines.next()).value, `done ${total}`);
    assert.ok(held > 0);
    assert.equal(lost, 0);
    assert.deepEqual(await served(), [...Array(total).keys()]);
  });
});
