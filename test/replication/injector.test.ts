/** Needs root. The log's input into a sandbox: in order, past what holds other packets, and no faster than there is room. */
import assert from 'node:assert/strict';
import { promises } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ipv4Bytes } from '../../src/base/ipv4.ts';
import { encodePackets } from '../../src/base/packets/encode.ts';
import type { InputEntry } from '../../src/base/traffic-log.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { addTokenBucket, getLink, macBytes } from '../../src/linux/rtnetlink/index.ts';
import { forceReceiveLimit, receiveMemory } from '../../src/linux/socket-memory.ts';
import { InputInjector } from '../../src/replication/injector.ts';
import { delivered, LINK_NAME, makeVm, SANDBOX_ADDRESS, SANDBOX_MAC } from '../dataplane/support.ts';
import { needs } from '../support/needs.ts';
import { injectorInto, openSocket, PORT, until } from './support.ts';

describe('the injector', { skip: needs('root') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  function sandbox() {
    const vm = makeVm(undo, { routed: true });
    const socket = openSocket(undo, vm.sandbox, { port: PORT });
    const { index, mac } = getLink(vm.routes, LINK_NAME);
    const target = { link: index, sandboxMac: macBytes(SANDBOX_MAC), gatewayMac: macBytes(mac) };
    const injector = inNetns(vm.netns, () => new InputInjector(target));
    undo(() => injector.close());
    return { vm, socket, injector, link: index };
  }

  const input = (index: number, payload: Uint8Array): InputEntry => {
    const [source, destination] = ['192.0.2.7', SANDBOX_ADDRESS].map(ipv4Bytes) as [Buffer, Buffer];
    const ends = { sourceAddress: source, sourcePort: 9, destinationAddress: destination, destinationPort: PORT };
    return { kind: 'input', index, frames: encodePackets({ ...ends, payload }, 1500, index) };
  };

  test('what comes before the sockets are known waits, and then all of it arrives in order, past a hold', async () => {
    const { vm, socket, injector, link } = sandbox();
    const nothing = { rate: 1n, overheadBytes: 60_000, burstBytes: 1514, limitPackets: 10 };
    vm.routes.applyAll(addTokenBucket(link, 0xbeef, nothing));
    const payloads = Array.from({ length: 3000 }, (_, n) => Buffer.alloc(n % 100 === 0 ? 4000 : 20, `${n} `));
    for (const [index, payload] of payloads.entries()) injector.add(input(index, payload));
    assert.equal(injector.step(), 0);
    assert.deepEqual([injector.injected, injector.waiting], [0, 3000]);
    injector.attach([socket]);
    const arrived: string[] = [];
    await until('all have arrived', () => {
      injector.step();
      for (let payload = socket.take(); payload !== undefined; payload = socket.take())
        arrived.push(payload.toString());
      return arrived.length === 3000;
    });
    assert.deepEqual(arrived, payloads.map(String));
    assert.deepEqual([injector.injected, injector.waiting], [3000, 0]);
  });

  test('a process that does not read is not drowned: the rest waits here, and nothing is dropped', async () => {
    const { socket, injector } = sandbox();
    // Like the kernel's default.
    forceReceiveLimit(socket.descriptor, 212_992);
    injector.attach([socket]);
    for (let index = 0; index < 2000; index++) injector.add(input(index, Buffer.from(`${index}`)));
    for (let steps = 0; steps < 300; steps++) {
      injector.step();
      if (steps % 10 === 0) await sleep(1);
    }
    await delivered();
    const { usedBytes, drops } = receiveMemory(socket.descriptor);
    assert.equal(drops, 0);
    assert.ok(usedBytes > 20_000 && usedBytes <= 212_992 / 2, `${usedBytes} bytes are used`);
    assert.ok(injector.waiting > 1500);
    let next = 0;
    await until('all have arrived', () => {
      injector.step();
      for (let payload = socket.take(); payload !== undefined; payload = socket.take())
        assert.equal(payload.toString(), `${next++}`);
      return next === 2000;
    });
    assert.equal(receiveMemory(socket.descriptor).drops, 0);
  });

  test('what a queue of the copy drops all the same is noticed', async () => {
    const { vm, socket, injector } = sandbox();
    injector.attach([socket]);
    forceReceiveLimit(socket.descriptor, 16 << 10);
    const { inject } = injectorInto(undo, vm);
    for (let n = 0; n < 50; n++) inject(Buffer.alloc(1000));
    await until('some are dropped', () => receiveMemory(socket.descriptor).drops > 0);
    injector.add(input(0, Buffer.alloc(1)));
    const error = { code: 'replication.overrun', message: /has dropped \d+ datagrams/ };
    assert.throws(() => injector.step(), error);
    assert.throws(() => injector.checkDrops(), error);
    // They are those of before, for who begins now.
    injector.attach([socket]);
    injector.checkDrops();
  });

  test('inputs are taken in the order of their index only', () => {
    const { injector } = sandbox();
    injector.add(input(0, Buffer.alloc(1)));
    assert.throws(() => injector.add(input(0, Buffer.alloc(1))), { code: 'peer.protocol' });
    assert.throws(() => injector.add(input(2, Buffer.alloc(1))), { code: 'peer.protocol' });
    injector.add(input(1, Buffer.alloc(1)));
  });
});
