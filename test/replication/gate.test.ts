/** Needs root. A process behind a gate is not heard, and nothing is lost, doubled or overtaken when the gate opens. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { promises } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeDatagram, decodePacket } from '../../src/base/packets/decode.ts';
import { POLL, pollNow } from '../../src/linux/file-descriptors.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { receiveOnOneCpu } from '../../src/linux/receive-cpu.ts';
import { addAddress, getLink } from '../../src/linux/rtnetlink/index.ts';
import { sendNow } from '../../src/linux/sockets.ts';
import { OutputGate } from '../../src/replication/gate.ts';
import { delivered, LINK_NAME, makeVm, SANDBOX_ADDRESS, type Vm } from '../dataplane/support.ts';
import { needs } from '../support/needs.ts';
import { ended, type OwnSocket, occupy, openSocket, PORT, start, startSender, until } from './support.ts';

/** An address of the VM's own: what is sent there is not even forwarded. */
const REMOTE = '192.0.2.1';

describe('the output gate', { skip: needs('root', 'ip', 'python3') }, () => {
  let undone: (() => void)[] = [];
  const undo = (step: () => void): void => void undone.push(step);
  beforeEach(async () => void (await promises.stat('/')));
  afterEach(() => {
    for (const step of undone.reverse()) step();
    undone = [];
  });

  function sandbox() {
    const vm = makeVm(undo, { routed: true });
    vm.routes.apply(addAddress({ link: getLink(vm.routes, LINK_NAME).index, address: REMOTE, prefixLength: 32 }));
    const pid = occupy(undo, vm.sandbox);
    const speaker = openSocket(undo, vm.sandbox, {
      port: PORT,
      address: SANDBOX_ADDRESS,
      remote: { address: REMOTE, port: 9 },
    });
    const listener = openSocket(undo, vm.netns, { port: 9 });
    const say = (text: string): void => sendNow(speaker.descriptor, Buffer.from(text));
    return { vm, pid, say, listener, heard: () => heardBy(listener) };
  }

  function shut(pid: number): OutputGate {
    const gate = OutputGate.shut({ pid, linkName: 'eth0' });
    undo(() => gate.close());
    return gate;
  }

  /** Sends to a port of the sandbox at which nobody is: the kernel says so, by ICMP. */
  function askerOf(vm: Vm) {
    const remote = { address: SANDBOX_ADDRESS, port: 6999 };
    const { descriptor } = openSocket(undo, vm.netns, { port: 5, address: REMOTE, remote });
    return {
      ask: (): void => sendNow(descriptor, Buffer.from('anybody?')),
      isRefused: (): boolean => (pollNow(descriptor, POLL.IN) & POLL.ERR) !== 0,
    };
  }

  function heardBy(listener: OwnSocket): string[] {
    const all: string[] = [];
    for (let payload = listener.take(); payload !== undefined; payload = listener.take())
      all.push(payload.toString('latin1'));
    return all;
  }

  function packetsIn(gate: OutputGate): Buffer[] {
    const all: Buffer[] = [];
    for (let packet = gate.read(); packet !== null; packet = gate.read()) all.push(Buffer.from(packet));
    return all;
  }
  const textsOf = (packets: readonly Buffer[]): (string | undefined)[] =>
    packets.map((packet) => decodeDatagram([decodePacket(packet)!])?.payload.toString());

  test('what the process says is in the gate, in order, and nobody hears it, on the VM itself neither', async () => {
    const { pid, say, heard } = sandbox();
    say('before');
    await delivered();
    assert.deepEqual(heard(), ['before']);
    const gate = shut(pid);
    for (let n = 0; n < 100; n++) say(`${n}`);
    await delivered();
    assert.deepEqual(textsOf(packetsIn(gate)), [...Array(100).keys()].map(String));
    say('f'.repeat(4000));
    await delivered();
    const parts = packetsIn(gate).map((packet) => decodePacket(packet)!);
    assert.equal(parts.length, 3);
    assert.equal(decodeDatagram(parts)?.payload.length, 4000);
    assert.deepEqual(heard(), []);
    assert.equal(gate.lost(), 0);
  });

  test('nor does anybody hear what the kernel says for it', async () => {
    const { vm, pid } = sandbox();
    const gate = shut(pid);
    const asker = askerOf(vm);
    asker.ask();
    await delivered();
    assert.equal(asker.isRefused(), false);
    assert.deepEqual(
      packetsIn(gate).map((packet) => packet[9]),
      [1],
    );
    gate.open();
    asker.ask();
    await until('it is refused', () => asker.isRefused());
  });

  test('what is released leaves in order, as often as it is released, and the gate stays shut for the rest', async () => {
    const { pid, say, heard } = sandbox();
    const gate = shut(pid);
    for (let n = 0; n < 10; n++) say(`${n}`);
    say('g'.repeat(4000));
    await delivered();
    const held = packetsIn(gate);
    gate.release(held.slice(0, 3));
    await until('three are heard', () => heard().join() === '0,1,2');
    say('more');
    gate.release(held.slice(3));
    await delivered();
    assert.deepEqual(heard(), ['3', '4', '5', '6', '7', '8', '9', 'g'.repeat(4000)]);
    assert.deepEqual(textsOf(packetsIn(gate)), ['more']);
  });

  test('it opens while the process speaks: everything is heard, once, in order, whichever way it came', async () => {
    const { vm, pid, listener } = sandbox();
    // Else the VM's two CPUs change what comes from two: replay.ts sees to it where there is a copy.
    inNetns(vm.netns, () => receiveOnOneCpu(LINK_NAME, 1));
    for (let round = 0; round < 8; round++) {
      const gate = shut(pid);
      const count = 8000;
      const sender = startSender(undo, vm.sandbox, 0, count, { host: REMOTE, port: 9, burst: 10, pauseMs: 0 });
      await until('the process speaks', () => gate.read() !== null && gate.release([]) === undefined);
      // The first one has been read, and is gone; as if it had been compared.
      const first = 1;
      const before: Buffer[] = [];
      for (let packet = gate.read(); packet !== null; packet = before.length < 300 ? gate.read() : null)
        before.push(Buffer.from(packet));
      await sleep(2);
      gate.release(before);
      gate.open();
      await sender.ended;
      await delivered();
      const numbers = heardBy(listener).map((text) => Number(text.split('/')[1]));
      assert.equal(gate.lost(), 0);
      assert.deepEqual(
        numbers,
        Array.from({ length: numbers.length }, (_, n) => n + first),
        `round ${round}`,
      );
      assert.ok(numbers.length >= count - 1 - first, `${numbers.length} of ${count} in round ${round}`);
      gate.close();
    }
  });

  test('it fails closed: when the program that holds it is killed, nothing is heard; another one opens it', async () => {
    const { vm, pid, say, heard } = sandbox();
    const holder = await start(undo, vm.netns, 'gate-holder', [pid]);
    say('held');
    holder.child.kill('SIGKILL');
    await ended(holder);
    for (let n = 0; n < 10; n++) say('to nobody');
    await sleep(50);
    assert.deepEqual(heard(), []);
    OutputGate.openAbandoned({ pid, linkName: 'eth0' });
    say('heard');
    await until('it is heard', () => heard().join() === 'heard');
    OutputGate.openAbandoned({ pid, linkName: 'eth0' });
  });

  test('a gate that another program has left is shut again without a gap', async () => {
    const { vm, pid, say, heard } = sandbox();
    const holder = await start(undo, vm.netns, 'gate-holder', [pid]);
    holder.child.kill('SIGKILL');
    await ended(holder);
    const gate = shut(pid);
    say('held');
    await delivered();
    assert.deepEqual(textsOf(packetsIn(gate)), ['held']);
    gate.open();
    say('open');
    await until('it is heard', () => heard().join() === 'open');
  });

  test('discarded or closed, it stays shut, and what was in it is gone', async () => {
    for (const end of ['discard', 'close'] as const) {
      const { pid, say, heard } = sandbox();
      const gate = shut(pid);
      say('held');
      gate[end]();
      gate[end]();
      say('after');
      assert.equal(gate.open(), 0);
      await delivered();
      assert.deepEqual(heard(), []);
    }
  });

  test('what its queue has no room for is counted', async () => {
    const { vm, pid, say } = sandbox();
    const gate = shut(pid);
    inNetns(vm.sandbox, () => execFileSync('ip', ['link', 'set', 'cr-gate', 'txqueuelen', '10']));
    for (let n = 0; n < 30; n++) say(`${n}`);
    await delivered();
    assert.equal(gate.lost(), 20);
    assert.equal(packetsIn(gate).length, 10);
  });

  test('of what is in the gate when it opens, only what the process said leaves', async () => {
    const { vm, pid, say, heard } = sandbox();
    const gate = shut(pid);
    say('one');
    askerOf(vm).ask();
    await delivered();
    say('two');
    assert.equal(gate.open(), 2);
    assert.equal(gate.open(), 0);
    say('three');
    await delivered();
    assert.deepEqual(heard(), ['one', 'two', 'three']);
  });
});
