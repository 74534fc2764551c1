/** Needs root and tc, which is asked what the kernel has understood. Everything is in a namespace of its own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { EINVAL, ENOENT, KernelError } from '../../src/linux/errno.ts';
import { closeFd, createNetns, inNetns } from '../../src/linux/netns.ts';
import { cpuMask, receiveOnOneCpu } from '../../src/linux/receive-cpu.ts';
import {
  addTokenBucket,
  addVeth,
  changeTokenBucket,
  deleteDiscipline,
  findDiscipline,
  getLink,
  RouteSocket,
  setLink,
} from '../../src/linux/rtnetlink/index.ts';
import { needs } from '../support/needs.ts';

const MAJOR = 0x1234;

describe('queueing disciplines', { skip: needs('root', 'tc') }, () => {
  let netns = -1;
  let socket: RouteSocket;
  let link = 0;

  before(() => {
    netns = createNetns();
    socket = inNetns(netns, () => new RouteSocket());
    socket.apply(addVeth({ name: 'near' }, { name: 'far' }));
    for (const name of ['near', 'far']) socket.apply(setLink(name, { up: true }));
    link = getLink(socket, 'near').index;
  });
  after(() => {
    socket.close();
    closeFd(netns);
  });

  const tc = (...args: string[]): string => inNetns(netns, () => execFileSync('tc', args, { encoding: 'utf8' }));
  const shown = (): string => tc('-d', 'qdisc', 'show', 'dev', 'near');

  test('a device without one has noqueue, and no device has none', () => {
    assert.equal(findDiscipline(socket, link)?.kind, 'noqueue');
    assert.equal(findDiscipline(socket, 4711), undefined);
  });

  test('what is added, changed and deleted is what tc shows', () => {
    socket.applyAll(
      addTokenBucket(link, MAJOR, { rate: 125_000n, overheadBytes: 200, burstBytes: 20_000, limitPackets: 77 }),
    );
    assert.match(shown(), /qdisc tbf 1234: root .*rate 1Mbit .*overhead 200/);
    assert.match(shown(), /qdisc pfifo 1235: parent 1234:1 limit 77p/);
    const found = findDiscipline(socket, link);
    assert.deepEqual(
      [found?.kind, found?.major, found?.rate, found?.waitingPackets, found?.droppedPackets],
      ['tbf', MAJOR, 125_000n, 0, 0],
    );
    assert.throws(
      () =>
        socket.applyAll(addTokenBucket(link, MAJOR, { rate: 1n, overheadBytes: 0, burstBytes: 2000, limitPackets: 1 })),
      KernelError,
    );
    // Beyond 32 bits.
    const rate = 10n ** 12n;
    socket.apply(changeTokenBucket(link, MAJOR, { rate, overheadBytes: 0, burstBytes: 1 << 20, limitPackets: 88 }));
    assert.match(shown(), /rate 8Tbit/);
    assert.match(shown(), /limit 88p/);
    assert.equal(findDiscipline(socket, link)?.rate, rate);
    socket.apply(deleteDiscipline(link, MAJOR));
    assert.match(shown(), /^qdisc noqueue/);
    const gone = (thrown: unknown) => thrown instanceof KernelError && [ENOENT, EINVAL].includes(thrown.errno);
    assert.throws(() => socket.apply(deleteDiscipline(link, MAJOR)), gone);
  });

  test('one CPU receives for a device, in the namespace of the thread alone', () => {
    inNetns(netns, () => receiveOnOneCpu('near', 1));
    // The sysfs of a new mount namespace is the one of this network namespace.
    const path = '/sys/class/net/near/queues/rx-0/rps_cpus';
    const command = `mount -t sysfs sysfs /sys && cat ${path}`;
    const mask = inNetns(netns, () => execFileSync('unshare', ['-m', 'sh', '-c', command], { encoding: 'utf8' }));
    assert.equal(Number.parseInt(mask.replaceAll(',', ''), 16).toString(2).replaceAll('0', ''), '1');
    assert.throws(() => receiveOnOneCpu('near', 1), { errno: ENOENT }, 'not in this one');
    assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes('fsmount'));
  });
});

test('the mask of a CPU has groups of 32 bits', () => {
  assert.deepEqual([0, 5, 31, 32, 65].map(cpuMask), [
    '00000001',
    '00000020',
    '80000000',
    '00000001,00000000',
    '00000002,00000000,00000000',
  ]);
});
