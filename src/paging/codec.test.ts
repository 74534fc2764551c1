import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { decodeDestinationMessage, decodeSourceMessage, encodeMessage } from './codec.ts';
import {
  DESTINATION_TAGS,
  type DestinationMessage,
  MAX_MESSAGE_BYTES,
  MAX_PAGES,
  MAX_RUNS,
  type SourceMessage,
} from './messages.ts';
import { countPages, PAGE_BYTES, type PageRun } from './page-range.ts';

type Message = DestinationMessage | SourceMessage;
const bytesOf = (message: Message): Buffer => Buffer.concat(encodeMessage(message));
const isOfDestination = (message: Message): message is DestinationMessage => message.type in DESTINATION_TAGS;
const decode = (message: Message): Message =>
  isOfDestination(message) ? decodeDestinationMessage(bytesOf(message)) : decodeSourceMessage(bytesOf(message));
const refused = (error: unknown): boolean => error instanceof ComicranError && error.code === 'peer.protocol';

/** Every message as it stands on the wire. A change here is another version of the protocol. */
const WIRE: readonly (readonly [Message, string])[] = [
  [{ type: 'OPEN', version: 1, purpose: 'faults' }, '01 01000000 01'],
  [{ type: 'OPEN', version: 1, purpose: 'fill' }, '01 01000000 02'],
  [
    {
      type: 'WANT',
      runs: [
        { page: 0x7f0000001, count: 1 },
        { page: 16, count: 3 },
      ],
    },
    '02 02000000 010000f007000000 01000000 1000000000000000 03000000',
  ],
  [{ type: 'DONE' }, '03'],
  [{ type: 'OPENED', version: 1 }, '41 01000000'],
  [
    { type: 'PAGES', runs: [{ page: 2, count: 1 }], bytes: Buffer.alloc(PAGE_BYTES, 0xab) },
    `42 01000000 0200000000000000 01000000 ${'ab'.repeat(PAGE_BYTES)}`,
  ],
  [{ type: 'REFUSED', code: 'process.gone', message: 'no' }, '43 0c000000 70726f636573732e676f6e65 02000000 6e6f'],
];

test('every message stands on the wire as documented, byte for byte, and comes back', () => {
  for (const [message, hex] of WIRE) {
    assert.equal(bytesOf(message).toString('hex'), hex.replaceAll(' ', ''), message.type);
    assert.deepEqual(decode(message), message);
  }
});

test('the bytes of pages are not copied', () => {
  const bytes = Buffer.alloc(PAGE_BYTES);
  assert.equal(encodeMessage({ type: 'PAGES', runs: [{ page: 1, count: 1 }], bytes })[1], bytes);
});

const runs: fc.Arbitrary<PageRun[]> = fc
  .array(fc.record({ page: fc.nat(2 ** 31 - 1), count: fc.integer({ min: 1, max: 4 }) }, { noNullPrototype: true }), {
    minLength: 1,
    maxLength: 20,
  })
  .filter((list) => countPages(list) <= MAX_PAGES);
const message: fc.Arbitrary<Message> = fc.oneof(
  runs.map((list) => ({ type: 'WANT' as const, runs: list })),
  runs.map((list) => ({ type: 'PAGES' as const, runs: list, bytes: Buffer.alloc(countPages(list) * PAGE_BYTES, 7) })),
  fc.record({ type: fc.constant('REFUSED' as const), code: fc.string({ maxLength: 30 }), message: fc.string() }),
);

test('any message comes back as it went', () => {
  fc.assert(fc.property(message, (each) => assert.deepEqual(decode(each), { ...each })));
});

test('the largest messages fit, larger ones are not made', () => {
  const most = Array.from({ length: MAX_RUNS }, (_, page) => ({ page, count: 1 }));
  const largest = bytesOf({ type: 'PAGES', runs: most, bytes: Buffer.alloc(MAX_PAGES * PAGE_BYTES) });
  assert.ok(largest.length <= MAX_MESSAGE_BYTES);
  assert.equal(decodeSourceMessage(largest).type, 'PAGES');
  assert.throws(() => encodeMessage({ type: 'WANT', runs: [...most, { page: 999, count: 1 }] }));
  assert.throws(() => encodeMessage({ type: 'WANT', runs: [{ page: 1, count: MAX_PAGES + 1 }] }));
  assert.throws(() => encodeMessage({ type: 'WANT', runs: [] }));
  const long = decode({ type: 'REFUSED', code: 'x', message: 'é'.repeat(5_000) });
  assert.ok(long.type === 'REFUSED' && /^é+$/.test(long.message));
});

test('what is damaged, cut, too long or of the other direction is refused', () => {
  for (const [each] of WIRE) {
    const bytes = bytesOf(each);
    const [mine, other] = isOfDestination(each)
      ? [decodeDestinationMessage, decodeSourceMessage]
      : [decodeSourceMessage, decodeDestinationMessage];
    assert.throws(() => other(bytes), refused);
    assert.throws(() => mine(Buffer.concat([bytes, Buffer.alloc(1)])), refused);
    for (let length = 0; length < Math.min(bytes.length, 40); length++)
      assert.throws(() => mine(bytes.subarray(0, length)), refused);
  }
  const want = (page: bigint, count: number): Buffer => {
    const bytes = bytesOf({ type: 'WANT', runs: [{ page: 1, count: 1 }] });
    bytes.writeBigUInt64LE(page, 5);
    bytes.writeUInt32LE(count, 13);
    return bytes;
  };
  assert.throws(() => decodeDestinationMessage(want(1n << 45n, 1)), refused);
  assert.throws(() => decodeDestinationMessage(want(1n, 0)), refused);
  assert.throws(() => decodeDestinationMessage(want(1n, MAX_PAGES + 1)), refused);
  assert.throws(() => decodeDestinationMessage(Buffer.from('0200000000', 'hex')), refused);
  assert.throws(() => decodeDestinationMessage(Buffer.from('010100000003', 'hex')), refused);
  assert.throws(() => decodeSourceMessage(Buffer.alloc(MAX_MESSAGE_BYTES + 1, 66)), refused);
});

test('any bytes are a message or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.constantFrom(0, 1, 2, 3, 65, 66, 67), (bytes, tag) => {
      for (const decoder of [decodeDestinationMessage, decodeSourceMessage])
        for (const input of [bytes, Uint8Array.from([tag, ...bytes])])
          try {
            assert.deepEqual(bytesOf(decoder(input)), Buffer.from(input));
          } catch (error) {
            if (!refused(error)) throw error;
          }
    }),
    { numRuns: 2000 },
  );
});
