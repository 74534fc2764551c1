import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { decodeDestinationMessage, decodeSourceMessage, encodeMessage } from './codec.ts';
import { encodedDatagramBytes } from './codec-fields.ts';
import {
  DESTINATION_TAGS,
  type DestinationMessage,
  MAX_MESSAGE_BYTES,
  MAX_PART_BYTES,
  MAX_RANGES,
  type Message,
  SOURCE_TAGS,
  type SourceMessage,
} from './messages.ts';

const bytesOf = (message: Message): Buffer => Buffer.concat(encodeMessage(message));
const isSource = (message: Message): message is SourceMessage => message.type in SOURCE_TAGS;
const decode = (message: Message): Message =>
  isSource(message) ? decodeSourceMessage(bytesOf(message)) : decodeDestinationMessage(bytesOf(message));

const page = Buffer.alloc(4096, 0xab);
const failure = { code: 'aborted', message: 'no', hint: '' };
const failureHex = '07000000 61626f72746564 02000000 6e6f 00000000';

const flow = {
  localAddress: Buffer.from([10, 88, 0, 5]),
  localPort: 5006,
  remoteAddress: Buffer.from([10, 0, 0, 9]),
  remotePort: 40_000,
};

/** Every message as it stands on the wire. A change here is another version of the protocol. */
const WIRE: readonly (readonly [Message, string])[] = [
  [
    {
      type: 'HELLO',
      version: 1,
      migrationId: 'm1',
      sandbox: 'sq',
      mode: 'stopcopy',
      source: 'vm1',
      destination: 'vm2',
      epoch: 7n,
    },
    '01 01000000 02000000 6d31 02000000 7371 08000000 73746f70636f7079 03000000 766d31 03000000 766d32 0700000000000000',
  ],
  [{ type: 'IMAGE', totalBytes: 5, offset: 2, bytes: Buffer.from([9, 8, 7]) }, '02 05000000 02000000 090807'],
  [
    { type: 'PAGES', ranges: [{ start: 0x7f0000001000n, length: 4096 }], bytes: page },
    `03 01000000 00100000007f0000 00100000 ${'ab'.repeat(4096)}`,
  ],
  [{ type: 'END', pageBytes: 4096n }, '04 0010000000000000'],
  [{ type: 'TAKE', expectedEpoch: 7n }, '05 0700000000000000'],
  [
    {
      type: 'DATAGRAMS',
      first: 3,
      datagrams: [
        {
          sourceAddress: Buffer.from([10, 0, 0, 9]),
          sourcePort: 40_000,
          destinationAddress: Buffer.from([10, 88, 0, 5]),
          destinationPort: 5006,
          payload: Buffer.from('12'),
        },
      ],
    },
    '06 03000000 01000000 04 0a000009 409c 0a580005 8e13 02000000 3132',
  ],
  [{ type: 'DRAINED', total: 4 }, '07 04000000'],
  [{ type: 'ABORT', ...failure }, `08 ${failureHex}`],
  [{ type: 'HAND_OVER', version: 1, migrationId: 'm1' }, '09 01000000 02000000 6d31'],
  [{ type: 'WELCOME', version: 1 }, '41 01000000'],
  [{ type: 'READY', beginMicros: 1, pagesMicros: 2, finishMicros: 3 }, '42 01000000 02000000 03000000'],
  [
    {
      type: 'LOG',
      entries: [
        { kind: 'input', index: 5, frames: [Buffer.from([0x45, 1]), Buffer.from([0x45])] },
        { kind: 'output', flow, index: 6, length: 2, digest: Buffer.alloc(16, 0xdd) },
      ],
    },
    `0a 02000000 01 05000000 02000000 02000000 4501 01000000 45
     02 0a580005 8e13 0a000009 409c 06000000 0200 ${'dd'.repeat(16)}`.replaceAll('\n', ''),
  ],
  [
    { type: 'PAGE_SERVER', address: Buffer.from([10, 0, 0, 1]), port: 7000, key: Buffer.alloc(32, 0xcc) },
    `0c 0a000001 581b ${'cc'.repeat(32)}`,
  ],
  [{ type: 'MISSING', ranges: [{ start: 0x7f0000001000n, length: 8192 }] }, '0d 01000000 00100000007f0000 00200000'],
  [{ type: 'OWN', ranges: [{ start: 0x1000n, length: 4096 }] }, '0e 01000000 0010000000000000 00100000'],
  [{ type: 'FREED' }, '0f'],
  [{ type: 'SKETCH', totalBytes: 5, offset: 2, bytes: Buffer.from([9, 8, 7]) }, '10 05000000 02000000 090807'],
  [{ type: 'LOG_END', inputs: 7, outputs: 8 }, '0b 07000000 08000000'],
  [
    { type: 'OWNED', epoch: 8n, takeMicros: 1, runMicros: 2, replayed: 3, compared: 4, released: 5 },
    '43 0800000000000000 01000000 02000000 03000000 04000000 05000000',
  ],
  [{ type: 'REPORT', injected: 1, compared: 2, held: 3 }, '48 01000000 02000000 03000000'],
  [{ type: 'FILLING', missingPages: 9 }, '49 09000000'],
  ...(
    [
      [undefined, '00'],
      [{ code: 3, signal: null }, '01 03'],
      [{ code: null, signal: 'SIGKILL' }, '02 07000000 5349474b494c4c'],
      [{ code: null, signal: null }, '03'],
    ] as const
  ).map(
    ([ended, hex]) =>
      [
        { type: 'FILLED', faults: 1, faultedPages: 2, filledPages: 3, faultMicros: 4, fillMicros: 5, ended },
        `4a 01000000 02000000 03000000 04000000 05000000 ${hex}`,
      ] as const,
  ),
  [{ type: 'LED' }, '4b'],
  [{ type: 'TAKEN' }, '4c'],
  [{ type: 'SKETCHED' }, '4d'],
  [{ type: 'HANDED_OVER', injected: 4, held: 5 }, '44 04000000 05000000'],
  [{ type: 'FAILED', ...failure }, `45 ${failureHex}`],
  [{ type: 'RECEIVED', epoch: 8n, datagrams: 3 }, '46 0800000000000000 03000000'],
  [{ type: 'GIVEN_BACK', epoch: 8n, ...failure }, `47 0800000000000000 ${failureHex}`],
];

test('every message stands on the wire as documented, byte for byte, and comes back', () => {
  for (const [message, hex] of WIRE) {
    assert.equal(bytesOf(message).toString('hex'), hex.replaceAll(' ', ''), message.type);
    assert.deepEqual(decode(message), message);
  }
  const types = new Set(WIRE.map(([message]) => message.type));
  assert.equal(types.size, Object.keys(SOURCE_TAGS).length + Object.keys(DESTINATION_TAGS).length);
});

test('tags are unique, the two directions do not meet', () => {
  const tags = [...Object.values(SOURCE_TAGS), ...Object.values(DESTINATION_TAGS)];
  assert.equal(new Set(tags).size, tags.length);
  assert.ok(Object.values(SOURCE_TAGS).every((tag) => tag > 0 && tag < 64));
  assert.ok(Object.values(DESTINATION_TAGS).every((tag) => tag > 64 && tag < 128));
});

test('page and image bytes are copied by neither side', () => {
  const parts = encodeMessage({ type: 'PAGES', ranges: [{ start: 0n, length: 4096 }], bytes: page });
  assert.equal(parts[1], page);
  const arrived = Buffer.concat(parts);
  const decoded = decodeSourceMessage(arrived);
  assert.ok(decoded.type === 'PAGES');
  arrived.fill(0xcd);
  assert.ok(decoded.bytes.every((byte) => byte === 0xcd));
});

const protocolError = (expected: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ComicranError);
  assert.equal(error.code, 'peer.protocol');
  assert.match(error.message, expected);
  return true;
};

test('a message cut at any byte, or with a byte too many, is refused by name', () => {
  for (const [message] of WIRE) {
    const bytes = bytesOf(message);
    const read = isSource(message) ? decodeSourceMessage : decodeDestinationMessage;
    // An image part has no length of its own: what is cut off its end is noticed by the count.
    const isPart = message.type === 'IMAGE' || message.type === 'SKETCH';
    const shortest = isPart ? 9 : bytes.length;
    for (let length = 0; length < shortest; length += length > 100 && length < 4000 ? 97 : 1)
      assert.throws(
        () => read(bytes.subarray(0, length)),
        protocolError(length === 0 ? /without a byte/ : new RegExp(message.type)),
      );
    if (!isPart)
      assert.throws(() => read(Buffer.concat([bytes, Buffer.of(0)])), protocolError(new RegExp(message.type)));
  }
});

test('an unknown tag and one of the other direction say what was found and what is known', () => {
  assert.throws(
    () => decodeSourceMessage(Buffer.of(200)),
    protocolError(/unknown tag 200; known are 1 HELLO, .*9 HAND_OVER/),
  );
  assert.throws(
    () => decodeSourceMessage(Buffer.of(66)),
    protocolError(/READY \(tag 66\) is one of the other direction/),
  );
  assert.throws(() => decodeDestinationMessage(Buffer.of(5)), protocolError(/TAKE \(tag 5\).*65 WELCOME/));
});

test('limits hold: part of a page, ranges without bytes, too many ranges, an image beyond its end, a mode unknown', () => {
  const bad = (hex: string, expected: RegExp): void =>
    assert.throws(() => decodeSourceMessage(Buffer.from(hex.replaceAll(' ', ''), 'hex')), protocolError(expected));
  bad('03 01000000 0010000000000000 00080000', /not whole pages/);
  bad('03 01000000 0110000000000000 00100000', /not whole pages/);
  bad('03 01000000 0010000000000000 00000000', /not whole pages/);
  bad('03 01000000 0010000000000000 00100000 ab', /ranges of 4096 bytes, 1 bytes of pages/);
  bad(`03 01040000 ${'00'.repeat(12 * (MAX_RANGES + 1))}`, /a list of 1025 items/);
  bad('02 05000000 04000000 0908', /2 bytes at 4 of an image of 5 bytes/);
  bad('02 ffffffff 00000000', /an image of 4294967295 bytes/);
  bad(
    '01 01000000 00000000 00000000 04000000 77617270',
    /mode "warp"; known are replicated, postcopy, precopy, stopcopy/,
  );
  bad('06 00000000 01000000 06 00', /an address of 6 bytes/);
  assert.throws(() => decodeSourceMessage(Buffer.alloc(MAX_MESSAGE_BYTES + 1, 2)), protocolError(/is the most/));
});

test('the largest parts fit the largest message', () => {
  const pages = Array.from({ length: MAX_RANGES }, (_, index) => ({ start: BigInt(index) * 8192n, length: 4096 }));
  encodeMessage({ type: 'PAGES', ranges: pages, bytes: Buffer.alloc(MAX_PART_BYTES) });
  encodeMessage({ type: 'IMAGE', totalBytes: MAX_PART_BYTES, offset: 0, bytes: Buffer.alloc(MAX_PART_BYTES) });
  encodeMessage({ type: 'FAILED', code: 'x'.repeat(9999), message: 'ü'.repeat(9999), hint: 'z'.repeat(9999) });
  assert.throws(
    () => encodeMessage({ type: 'IMAGE', totalBytes: 0, offset: 0, bytes: Buffer.alloc(MAX_MESSAGE_BYTES) }),
    /is the most/,
  );
});

test('a reason that is too long is cut between characters, and still a message', () => {
  const decoded = decode({ type: 'FAILED', code: 'deadline', message: `x${'ü'.repeat(4000)}`, hint: '' });
  assert.ok(decoded.type === 'FAILED');
  assert.match(decoded.message, /^xü+$/);
});

const address = fc
  .constantFrom(4, 16)
  .chain((length) =>
    fc.tuple(
      fc.uint8Array({ minLength: length, maxLength: length }),
      fc.uint8Array({ minLength: length, maxLength: length }),
    ),
  );
const datagram = fc
  .tuple(address, fc.nat(65_535), fc.nat(65_535), fc.uint8Array({ maxLength: 300 }))
  .map(([[sourceAddress, destinationAddress], sourcePort, destinationPort, payload]) => ({
    sourceAddress,
    sourcePort,
    destinationAddress,
    destinationPort,
    payload,
  }));

test('datagrams come back as they were, and take as many bytes as said', () => {
  fc.assert(
    fc.property(fc.array(datagram, { maxLength: 20 }), fc.nat(1 << 30), (datagrams, first) => {
      const bytes = bytesOf({ type: 'DATAGRAMS', first, datagrams });
      assert.equal(bytes.length, 9 + datagrams.reduce((sum, one) => sum + encodedDatagramBytes(one), 0));
      const decoded = decodeSourceMessage(bytes);
      assert.ok(decoded.type === 'DATAGRAMS');
      assert.deepEqual(
        decoded.datagrams.map((one) => ({
          ...one,
          payload: Uint8Array.from(one.payload),
          sourceAddress: Uint8Array.from(one.sourceAddress),
          destinationAddress: Uint8Array.from(one.destinationAddress),
        })),
        datagrams,
      );
    }),
    { numRuns: 200 },
  );
});

test('whatever comes in is a message or peer.protocol, never another failure', () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(fc.constantFrom(...WIRE.map(([message]) => bytesOf(message))), fc.nat(), fc.nat(255))
      .map(([bytes, at, value]) => {
        const changed = Uint8Array.from(bytes);
        changed[at % changed.length] = value;
        return changed;
      }),
  );
  fc.assert(
    fc.property(anything, (bytes) => {
      for (const read of [decodeSourceMessage, decodeDestinationMessage] as ((
        bytes: Uint8Array,
      ) => DestinationMessage | SourceMessage)[]) {
        try {
          read(bytes);
        } catch (error) {
          assert.ok(error instanceof ComicranError && error.code === 'peer.protocol', String(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});
