import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addToSum, foldSum } from './checksum.ts';
import { type Datagram, fitsIp, MAX_PAYLOAD_IPV4, MAX_PAYLOAD_IPV6 } from './datagram.ts';
import { decodeDatagram, decodePacket, type IpPart } from './decode.ts';
import { encodePackets } from './encode.ts';
import { ETHER_TYPE, encodeFrame, multicastMac } from './ethernet.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const port = fc.integer({ min: 0, max: 65_535 });
const datagrams = fc.constantFrom(4, 16).chain((length) =>
  fc.record({
    sourceAddress: bytes(length),
    sourcePort: port,
    destinationAddress: bytes(length),
    destinationPort: port,
    payload: fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ maxLength: 9000 })),
  }),
);

function decodeAll(packets: readonly Buffer[]): Datagram | undefined {
  const parts = packets.map((packet) => decodePacket(packet));
  return parts.includes(undefined) ? undefined : decodeDatagram(parts as IpPart[]);
}

const plain = (datagram: Datagram): unknown =>
  Object.fromEntries(Object.entries(datagram).map(([k, v]) => [k, typeof v === 'number' ? v : Array.from(v)]));

test('a datagram comes out of its packets as it went in, over any MTU, and no packet is longer than that', () => {
  fc.assert(
    fc.property(datagrams, fc.integer({ min: 68, max: 9000 }), fc.nat(0xffff_ffff), (datagram, mtu, id) => {
      const packets = encodePackets(datagram, mtu, id);
      assert.ok(packets.every((packet) => packet.length <= mtu));
      const back = decodeAll(packets);
      assert.ok(back !== undefined);
      assert.deepEqual(plain(back), plain(datagram));
    }),
  );
});

test('a whole packet has no fragment in it; fragments have one identification and lengths of eight', () => {
  const datagram = { ...fc.sample(datagrams, { numRuns: 1, seed: 1 })[0]!, payload: new Uint8Array(3000) };
  assert.equal(encodePackets(datagram, 4000, 77).length, 1);
  const parts = encodePackets(datagram, 1500, 77).map((packet) => decodePacket(packet)!);
  assert.equal(parts.length, 3);
  for (const part of parts) {
    assert.equal(part.identification, 77);
    if (part.moreFollows) assert.equal(part.bytes.length % 8, 0);
  }
});

test('a bit that changes on the way is noticed', () => {
  const one = fc.tuple(datagrams, fc.nat(), fc.nat(7));
  fc.assert(
    fc.property(one, ([datagram, where, bit]) => {
      const packet = encodePackets(datagram, 9100, 0)[0]!;
      // IPv6 leaves traffic class, flow label and hop limit without a checksum, and IPv4 has one for its whole header.
      const free = datagram.sourceAddress.length === 16 ? [0, 1, 2, 3, 7] : [];
      const at = where % packet.length;
      if (free.includes(at)) return;
      packet[at]! ^= 1 << bit;
      // A checksum of which the only bit is gone says that there is none.
      if (packet.readUInt16BE((datagram.sourceAddress.length === 4 ? 20 : 40) + 6) === 0) return;
      const back = decodeAll([packet]);
      assert.equal(back, undefined);
    }),
  );
});

test('the decoders say undefined to what is not a packet, and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => {
      decodeAll([Buffer.from(noise)]);
    }),
  );
  const packet = encodePackets(fc.sample(datagrams, { numRuns: 1, seed: 2 })[0]!, 1500, 0)[0]!;
  for (let length = 0; length < packet.length; length++)
    assert.equal(decodeAll([packet.subarray(0, length)]), undefined);
});

test('a missing, swapped or trailing fragment makes no datagram', () => {
  const datagram = { ...fc.sample(datagrams, { numRuns: 1, seed: 3 })[0]!, payload: new Uint8Array(5000).fill(7) };
  const parts = encodePackets(datagram, 1500, 5).map((packet) => decodePacket(packet)!);
  const [a, b, c, d] = parts as [IpPart, IpPart, IpPart, IpPart];
  assert.ok(decodeDatagram([a, b, c, d]) !== undefined);
  for (const wrong of [[a, b, c], [a, c, b, d], [b, c, d], [a, b, d], [a, b, c, d, d], []])
    assert.equal(decodeDatagram(wrong), undefined);
});

test('the checksum of RFC 1071, and of an odd length', () => {
  assert.equal(foldSum(addToSum(0, Buffer.from('0001f203f4f5f6f7', 'hex'))), 0x220d);
  assert.equal(foldSum(addToSum(0, Buffer.from('0001f2', 'hex'))), ~0xf201 & 0xffff);
  assert.equal(foldSum(addToSum(0, new Uint8Array(65_534).fill(255))), 0);
});

test('a computed checksum of 0 is written as 65,535: 0 would say that there is none', () => {
  // The two bytes of the payload make the sum 65,535.
  for (let word = 0; word < 65_536; word++) {
    const packet = encodePackets(
      {
        sourceAddress: Buffer.from([10, 0, 0, 1]),
        sourcePort: 1,
        destinationAddress: Buffer.from([10, 0, 0, 2]),
        destinationPort: 2,
        payload: Buffer.from([word >> 8, word & 255]),
      },
      1500,
      0,
    )[0]!;
    assert.notEqual(packet.readUInt16BE(26), 0);
    if (packet.readUInt16BE(26) === 0xffff) return;
  }
  assert.fail('no payload of two bytes gave a checksum of 0');
});

test('what IP can carry', () => {
  const of = (addressBytes: number, payloadBytes: number): Datagram => ({
    sourceAddress: new Uint8Array(addressBytes),
    sourcePort: 1,
    destinationAddress: new Uint8Array(addressBytes),
    destinationPort: 1,
    payload: new Uint8Array(payloadBytes),
  });
  assert.ok(fitsIp(of(4, MAX_PAYLOAD_IPV4)) && !fitsIp(of(4, MAX_PAYLOAD_IPV4 + 1)));
  assert.ok(fitsIp(of(16, MAX_PAYLOAD_IPV6)) && !fitsIp(of(16, MAX_PAYLOAD_IPV6 + 1)));
  assert.equal(decodeAll(encodePackets(of(4, MAX_PAYLOAD_IPV4), 1500, 9))?.payload.length, MAX_PAYLOAD_IPV4);
  assert.equal(decodeAll(encodePackets(of(16, MAX_PAYLOAD_IPV6), 1500, 9))?.payload.length, MAX_PAYLOAD_IPV6);
});

test('frames, and the Ethernet address of a group', () => {
  const frame = encodeFrame(Buffer.alloc(6, 1), Buffer.alloc(6, 2), ETHER_TYPE.IPV4, Buffer.from([9]));
  assert.equal(frame.toString('hex'), '010101010101020202020202080009');
  assert.equal(multicastMac(Buffer.from([239, 255, 1, 2]))?.toString('hex'), '01005e7f0102');
  assert.equal(multicastMac(Buffer.from('ff0200000000000000000000000000fb', 'hex'))?.toString('hex'), '3333000000fb');
  assert.equal(multicastMac(Buffer.from([10, 0, 0, 1])), undefined);
});
