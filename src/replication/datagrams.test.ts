import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeDatagram, decodePacket } from '../base/packets/decode.ts';
import { encodePackets } from '../base/packets/encode.ts';
import { completeChecksum, DatagramAssembler, isIcmpErrorOf, type WholeDatagram } from './datagrams.ts';

const REMOTE = Buffer.from([192, 0, 2, 7]);
const OWN = Buffer.from([10, 88, 0, 5]);

const packetsOf = (payload: Uint8Array, { mtu = 1500, id = 1, port = 9 } = {}): Buffer[] =>
  encodePackets(
    { sourceAddress: REMOTE, sourcePort: port, destinationAddress: OWN, destinationPort: 7000, payload },
    mtu,
    id,
  );

const payloads = fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ minLength: 1000, maxLength: 5000 }));

function addAll(assembler: DatagramAssembler, packets: readonly Buffer[]): WholeDatagram[] {
  return packets.flatMap((packet) => assembler.add(packet, 0) ?? []);
}

test('datagrams come out when their last packet comes, in whatever order the fragments of all of them are', () => {
  const several = fc.array(payloads, { minLength: 1, maxLength: 6 }).chain((list) => {
    const packets = list.flatMap((payload, id) => packetsOf(payload, { mtu: 576, id, port: 1000 + id }));
    return fc.tuple(fc.constant(list), fc.shuffledSubarray(packets, { minLength: packets.length }));
  });
  fc.assert(
    fc.property(several, ([list, packets]) => {
      const assembler = new DatagramAssembler();
      const found = new Map<number, WholeDatagram>();
      for (const packet of packets) {
        const datagram = assembler.add(packet, 0);
        if (datagram === undefined) continue;
        assert.equal(datagram.packets.at(-1), packet, 'it is complete with the packet that came last');
        found.set(datagram.sourcePort, datagram);
      }
      assert.equal(found.size, list.length);
      for (const [id, payload] of list.entries()) {
        const datagram = found.get(1000 + id)!;
        assert.deepEqual(Array.from(datagram.payload), Array.from(payload));
        assert.equal(datagram.sourceAddress, REMOTE.readUInt32BE(0));
        assert.equal(datagram.destinationPort, 7000);
      }
      assert.deepEqual(assembler.takeIncomplete(), []);
    }),
  );
});

test('a fragment that comes twice changes nothing, one that overlaps ends its datagram', () => {
  const packets = packetsOf(Buffer.alloc(3000, 7));
  const [a, b, c] = packets as [Buffer, Buffer, Buffer];
  assert.equal(addAll(new DatagramAssembler(), [a, b, a, b, c]).length, 1);
  const overlapping = Buffer.from(b);
  overlapping.writeUInt16BE(overlapping.readUInt16BE(6) - 1, 6);
  assert.equal(addAll(new DatagramAssembler(), [a, overlapping, b, c]).length, 0);
});

test('fragments of one that never comes whole are given back, and forgotten with time', () => {
  const [a, b, c] = packetsOf(Buffer.alloc(3000, 7)) as [Buffer, Buffer, Buffer];
  const assembler = new DatagramAssembler();
  assert.deepEqual(addAll(assembler, [a, b]), []);
  assert.deepEqual(assembler.takeIncomplete(), [a, b]);
  assert.deepEqual(addAll(assembler, [c]), []);
  const later = new DatagramAssembler();
  later.add(a, 0);
  later.add(b, 0);
  assert.equal(later.add(c, 40e9), undefined, 'the kernel has forgotten the first ones after 30 s');
});

test('of one sender: fragments whose addresses were written over are still of their datagram', () => {
  const [a, b, c] = packetsOf(Buffer.alloc(3000, 7)) as [Buffer, Buffer, Buffer];
  for (const later of [b, c]) Buffer.from([10, 70, 0, 1, 10, 70, 0, 2]).copy(later, 12);
  const [datagram] = addAll(new DatagramAssembler({ isOfOneSender: true }), [c, a, b]);
  assert.equal(datagram?.payload.length, 3000);
  assert.equal(datagram.sourceAddress, REMOTE.readUInt32BE(0));
  assert.equal(datagram.destinationAddress, OWN.readUInt32BE(0));
  const another = new DatagramAssembler();
  assert.deepEqual(addAll(another, [a, b, c]), []);
  assert.equal(another.incomplete, 2);
});

test('room for fragments is bounded, and it is told when one was given up that could still have come', () => {
  const assembler = new DatagramAssembler();
  for (let id = 0; id < 3000; id++) assembler.add(packetsOf(Buffer.alloc(3000), { id })[0]!, id);
  assert.ok(assembler.forgotten > 0);
  assert.ok(assembler.takeIncomplete().length <= 1024);
});

test('what is no UDP datagram is passed over, and nothing throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (noise, likely) => {
      const packet = Buffer.from(noise);
      if (likely && packet.length > 0) packet[0] = 0x45;
      new DatagramAssembler().add(packet, 0);
      isIcmpErrorOf(packet, 0);
      completeChecksum(packet);
    }),
  );
  const packet = packetsOf(Buffer.from('hello'))[0]!;
  for (let length = 0; length < packet.length; length++)
    assert.deepEqual(addAll(new DatagramAssembler(), [packet.subarray(0, length)]), []);
});

test('padding behind a packet, and bytes behind the datagram in it, are not part of the datagram', () => {
  const packet = packetsOf(Buffer.from('hello'))[0]!;
  const padded = Buffer.concat([packet, Buffer.alloc(13)]);
  assert.equal(addAll(new DatagramAssembler(), [padded])[0]?.payload.toString(), 'hello');
  const longer = Buffer.concat([packet, Buffer.alloc(4)]);
  longer.writeUInt16BE(longer.length, 2);
  assert.equal(addAll(new DatagramAssembler(), [longer])[0]?.payload.toString(), 'hello');
});

test('a checksum that its sender had left out is filled in', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1400 }), fc.nat(0xffff), (payload, wrong) => {
      const packet = packetsOf(payload)[0]!;
      const right = Buffer.from(packet);
      packet.writeUInt16BE(wrong, 26);
      completeChecksum(packet);
      assert.deepEqual(packet, right);
      assert.ok(decodeDatagram([decodePacket(packet)!]) !== undefined);
    }),
  );
});

test('an ICMP error is recognised by the packet of the sandbox that it tells of', () => {
  const inner = encodePackets(
    { sourceAddress: OWN, sourcePort: 7000, destinationAddress: REMOTE, destinationPort: 9, payload: Buffer.alloc(4) },
    1500,
    1,
  )[0]!;
  const icmp = (type: number): Buffer => {
    const packet = Buffer.concat([inner.subarray(0, 20), Buffer.from([type, 3, 0, 0, 0, 0, 0, 0]), inner]);
    packet[9] = 1;
    packet.writeUInt16BE(packet.length, 2);
    return packet;
  };
  assert.ok(isIcmpErrorOf(icmp(3), OWN.readUInt32BE(0)));
  assert.ok(!isIcmpErrorOf(icmp(3), REMOTE.readUInt32BE(0)), 'of another host');
  assert.ok(!isIcmpErrorOf(icmp(8), OWN.readUInt32BE(0)), 'an echo request');
});
