import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkEligible,
  type SocketDescription,
  type UdpDescription,
  UNSUITABLE,
  unsuitableReasons,
} from './eligibility.ts';
import { type LinkFacts, unsuitableLink } from './suitable-link.ts';

const UDP: UdpDescription = {
  kind: 'udp',
  localPort: 7000,
  localAddress: undefined,
  remote: undefined,
  corked: false,
  encapsulates: false,
  multicast: false,
  device: undefined,
};
const ADDRESS = '10.88.0.5';
const reasons = (...sockets: SocketDescription[]): string[] =>
  unsuitableReasons({ sockets, address: ADDRESS, loopbackPackets: 0 });

test('what answers datagrams over its link can be replicated', () => {
  assert.deepEqual(reasons(), []);
  assert.deepEqual(reasons(UDP, { ...UDP, localPort: 7001, localAddress: ADDRESS }), []);
  const connected = { ...UDP, localAddress: ADDRESS, remote: { address: '192.0.2.7', port: 9 } };
  assert.deepEqual(reasons(UDP, connected, { ...connected, remote: { address: '192.0.2.7', port: 10 } }), []);
  assert.deepEqual(reasons({ ...UDP, localPort: 0 }, { ...UDP, localPort: 0 }), [], 'not bound: nothing is shared');
  assert.deepEqual(reasons({ ...UDP, device: 'eth0' }), [], 'alone at its port');
  assert.deepEqual(reasons({ kind: 'unix', peer: 'inside' }, { kind: 'unix', peer: 'none' }), []);
  assert.deepEqual(reasons({ kind: 'tcp', state: 'closed' }, { kind: 'netlink', subscribed: false }), []);
  checkEligible({ sockets: [UDP], address: ADDRESS, loopbackPackets: 0 });
});

test('each kind of input or output that is not watched is named', () => {
  const cases: [SocketDescription[], string][] = [
    [[{ ...UDP, localAddress: '127.0.0.1' }], 'loopback'],
    [[{ ...UDP, localAddress: '::1' }], 'loopback'],
    [[{ ...UDP, localAddress: '::ffff:127.1.2.3' }], 'loopback'],
    [[{ ...UDP, localAddress: ADDRESS, remote: { address: ADDRESS, port: 1 } }], 'loopback'],
    [[UDP, { ...UDP }], 'shared-port'],
    [[{ ...UDP, corked: true }], 'corked'],
    [[{ ...UDP, encapsulates: true }], 'encapsulation'],
    [[{ ...UDP, multicast: true }], 'multicast'],
    [[{ ...UDP, device: 'lo' }], 'device'],
    [[{ kind: 'tcp', state: 'connected' }], 'tcp-connection'],
    [[{ kind: 'tcp', state: 'listening' }], 'tcp-listener'],
    [[{ kind: 'unix', peer: 'outside' }], 'unix-socket'],
    [[{ kind: 'netlink', subscribed: true }], 'kernel-news'],
    [[{ kind: 'raw', name: 'icmp' }], 'raw-socket'],
    [[{ kind: 'packet', name: 'packet' }], 'raw-socket'],
    [[{ kind: 'other', name: 'vsock' }], 'raw-socket'],
  ];
  for (const [sockets, reason] of cases) assert.deepEqual(reasons(...sockets), [reason]);
  const described = { sockets: [UDP], address: ADDRESS, loopbackPackets: 0 };
  assert.deepEqual(unsuitableReasons({ ...described, machineFiles: ['/data'] }), ['machine-files']);
  const known = new Set([...cases.map(([, reason]) => reason), 'machine-files']);
  assert.deepEqual(known, new Set(Object.keys(UNSUITABLE)));
  assert.deepEqual(unsuitableReasons({ sockets: [UDP], address: ADDRESS, loopbackPackets: 2 }), ['loopback']);
});

test('the refusal names every reason, once', () => {
  const sockets: SocketDescription[] = [
    { kind: 'tcp', state: 'connected' },
    { kind: 'tcp', state: 'connected' },
    UDP,
    UDP,
  ];
  assert.throws(
    () => checkEligible({ sockets, address: ADDRESS, loopbackPackets: 0 }),
    (thrown: Error) => {
      assert.match(thrown.message, /TCP connection; several of its sockets share a port, and [^;]*$/);
      assert.equal(thrown.message.split('TCP').length, 2);
      return (thrown as Error & { code: string }).code === 'replication.unsuitable';
    },
  );
});

test('files of the machine are named by their places, with both ways out', () => {
  assert.throws(
    () => checkEligible({ sockets: [], address: ADDRESS, loopbackPackets: 0, machineFiles: ['/books', '/data'] }),
    (thrown: Error & { hint?: string }) => {
      assert.match(thrown.message, /: it can write to files of the machine, [^;]* \(\/books, \/data\)$/);
      assert.match(thrown.hint ?? '', /postcopy.*scratch/);
      return true;
    },
  );
});

const LINK: LinkFacts = {
  steering: { cpus: [1], queues: 1, followedFlows: 0 },
  receiveOffload: false,
  checksumOffload: false,
  unresolved: [],
  queued: false,
};

test('a link suits with one CPU that receives, nothing merged or left out, and nobody to be asked for first', () => {
  assert.deepEqual(unsuitableLink(LINK), []);
  const wrong: Partial<LinkFacts>[] = [
    { steering: { cpus: [], queues: 1, followedFlows: 0 } },
    { steering: { cpus: [0, 1], queues: 1, followedFlows: 0 } },
    { steering: { cpus: [0], queues: 2, followedFlows: 0 } },
    { steering: { cpus: [0], queues: 1, followedFlows: 4096 } },
    { receiveOffload: true },
    { checksumOffload: true },
    { unresolved: ['169.254.1.1'] },
    { queued: true },
  ];
  for (const one of wrong) assert.equal(unsuitableLink({ ...LINK, ...one }).length, 1, JSON.stringify(one));
});
