import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Intake } from './hand-over-destination.ts';
import { Leftovers } from './leftovers.ts';
import { DATAGRAMS_UNKNOWN, type DatagramsMessage } from './messages.ts';
import type { CarriedDatagram } from './ports.ts';
import { VirtualClock } from './test-kit/virtual-clock.ts';
import { DEFAULT_DEADLINES } from './waiting.ts';

const datagram = (number: number): CarriedDatagram => ({
  sourceAddress: Buffer.from([192, 0, 2, 7]),
  sourcePort: 9,
  destinationAddress: Buffer.from([10, 88, 0, 5]),
  destinationPort: 7000,
  payload: Buffer.from(`${number}`),
});
const datagrams = (first: number, count: number): DatagramsMessage => ({
  type: 'DATAGRAMS',
  first,
  datagrams: Array.from({ length: count }, (_, place) => datagram(first + place)),
});

/** @param lost the number of the datagram that cannot be injected */
function intake(lost = -1): { intake: Intake; injected: string[]; leftovers: Leftovers } {
  const injected: string[] = [];
  const clock = new VirtualClock();
  const leftovers = new Leftovers(clock, DEFAULT_DEADLINES);
  const inject = ({ payload }: CarriedDatagram): void => {
    const number = Buffer.from(payload).toString();
    if (Number(number) === lost) throw new Error('the link is down');
    injected.push(number);
  };
  return {
    intake: new Intake({ ports: { clock, packets: { inject } }, deadlines: DEFAULT_DEADLINES }, leftovers),
    injected,
    leftovers,
  };
}

test('datagrams are put in once each, in order, until the source has said how many there were', async () => {
  const { intake: into, injected, leftovers } = intake();
  assert.equal(await into.take(datagrams(0, 3), undefined), false);
  assert.equal(into.received, 3);
  await assert.rejects(into.take(datagrams(2, 1), undefined), { code: 'peer.protocol' }, 'one that it has had');
  await assert.rejects(into.take(datagrams(4, 1), undefined), { code: 'peer.protocol' }, 'one before it is missing');
  assert.equal(await into.take(datagrams(3, 2), undefined), false);
  await assert.rejects(into.take({ type: 'DRAINED', total: 6 }, undefined), { code: 'peer.protocol' });
  assert.equal(await into.take({ type: 'DRAINED', total: 5 }, undefined), true);
  assert.deepEqual(injected, ['0', '1', '2', '3', '4']);
  assert.deepEqual(leftovers.failures, []);
});

test('one that cannot be injected is lost and told, and the others are not', async () => {
  const { intake: into, injected, leftovers } = intake(1);
  await into.take(datagrams(0, 3), undefined);
  assert.equal(await into.take({ type: 'DRAINED', total: 3 }, undefined), true, 'the source need not send it again');
  assert.deepEqual(injected, ['0', '2']);
  assert.deepEqual(
    leftovers.failures.map(({ message }) => message),
    ['injecting a datagram: the link is down'],
  );
});

test('a daemon that does not know what came before asks for nothing and takes nothing', async () => {
  const { intake: into, injected } = intake();
  into.forget();
  assert.equal(into.received, DATAGRAMS_UNKNOWN);
  await assert.rejects(into.take(datagrams(0, 1), undefined), { code: 'peer.protocol' });
  await assert.rejects(into.take({ type: 'DRAINED', total: 0 }, undefined), { code: 'peer.protocol' });
  assert.deepEqual(injected, []);
});
