import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../../base/errors.ts';
import { decodeDescriptorTable, encodeDescriptorTable } from './codec.ts';
import type {
  DescriptionImage,
  DescriptorTableImage,
  EpollImage,
  FileImage,
  SocketAddressImage,
  TcpSocketImage,
  UdpSocketImage,
} from './types.ts';

/** Plain objects only: decoding makes no others. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const u32 = fc.nat(0xffff_ffff);
const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((each) => Buffer.from(each));
const path = fc.string({ unit: 'grapheme', maxLength: 40 }).map((text) => `/${text.replaceAll('\0', '')}`);
const flags = fc.nat(0xff_ffff);
const device = fc.stringMatching(/^[a-z0-9]{0,15}$/);
const family = fc.constantFrom('inet', 'inet6');

const ip = (of: string): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: of === 'inet' ? 4 : 16, maxLength: of === 'inet' ? 4 : 16 }).map((a) => Buffer.from(a));
const address = (of: string): fc.Arbitrary<SocketAddressImage> =>
  record({ address: ip(of), port: fc.nat(0xffff), scope: device, flowInfo: u32 });
const options = fc.array(record({ level: fc.nat(300), option: fc.nat(300), value: bytes(20) }), { maxLength: 4 });
const filter = fc.nat(4).chain((count) => fc.constant(Buffer.alloc(count * 8, count)));

const udp: fc.Arbitrary<UdpSocketImage> = family.chain((of) =>
  record({
    kind: fc.constant('udp-socket'),
    flags,
    family: fc.constant(of),
    local: fc.option(address(of)),
    remote: fc.option(address(of)),
    shutdown: fc.constantFrom('nothing', 'reading', 'both'),
    options,
    memberships: fc.array(
      record({
        device,
        group: ip(of),
        mode: fc.constantFrom('include', 'exclude'),
        sources: fc.array(ip(of), { maxLength: 3 }),
      }),
      { maxLength: 2 },
    ),
    filter,
  }),
);
const tcp: fc.Arbitrary<TcpSocketImage> = family.chain((of) =>
  record({
    kind: fc.constant('tcp-socket'),
    flags,
    family: fc.constant(of),
    local: fc.option(address(of)),
    backlog: fc.option(u32),
    options,
    filter,
  }),
);
const lock = record({
  type: fc.constantFrom('flock', 'posix', 'ofd'),
  exclusive: fc.boolean(),
  start: u64,
  end: fc.option(u64),
});
const file: fc.Arbitrary<FileImage> = record({
  kind: fc.constant('file'),
  flags,
  path,
  fileType: fc.constantFrom('regular', 'directory'),
  position: u64,
  size: u64,
  carried: fc.constant(null),
  locks: fc.array(lock, { maxLength: 2 }),
});
const standalone: fc.Arbitrary<DescriptionImage> = fc.oneof(
  file,
  udp,
  tcp,
  record({ kind: fc.constant('device'), flags, path, major: u32, minor: u32 }),
  record({ kind: fc.constant('inherited'), flags, name: fc.string({ maxLength: 20 }) }),
  record({ kind: fc.constant('eventfd'), flags, count: u64, semaphore: fc.boolean() }),
  record({
    kind: fc.constant('netlink-socket'),
    flags,
    type: fc.constantFrom('raw', 'datagram'),
    protocol: fc.nat(20),
    port: u32,
    groups: fc.uniqueArray(fc.integer({ min: 1, max: 100 })).map((groups) => groups.toSorted((a, b) => a - b)),
    options,
  }),
  record({ kind: fc.constant('signalfd'), flags, mask: u64 }),
  record({
    kind: fc.constant('timerfd'),
    flags,
    clock: u32,
    settimeFlags: u32,
    ticks: u64,
    remaining: u64,
    expiry: u64,
    interval: u64,
  }),
  record({
    kind: fc.constant('inotify'),
    flags,
    watches: fc.array(record({ watch: fc.integer({ min: 1, max: 1 << 30 }), path, mask: u32 }), { maxLength: 3 }),
  }),
);

/** Whole tables: with pipes, carried files, epoll sets over everything else, a socket pair, and shared descriptions. */
const table: fc.Arbitrary<DescriptorTableImage> = record({
  first: fc.array(standalone, { maxLength: 5 }),
  pipes: fc.array(
    record({ path: fc.option(path), hungUp: fc.boolean(), chunks: fc.array(bytes(30), { maxLength: 3 }) }),
    { maxLength: 2 },
  ),
  carriedFiles: fc.array(
    record({ path, unlinked: fc.boolean(), mode: fc.nat(0o7777), uid: u32, gid: u32, contents: bytes(50) }),
    { maxLength: 2 },
  ),
  pair: fc.option(fc.constantFrom('stream', 'datagram', 'seqpacket')),
  pairChunks: fc.array(bytes(20), { maxLength: 2 }),
  epollItems: fc.array(record({ at: fc.nat(), number: fc.nat((1 << 20) - 1), events: u32, data: u64 }), {
    maxLength: 4,
  }),
  gaps: fc.array(fc.nat(100), { minLength: 40, maxLength: 40 }),
  extra: fc.array(fc.nat(), { maxLength: 5 }),
  closeOnExec: fc.boolean(),
}).map(({ first, pipes, carriedFiles, pair, pairChunks, epollItems, gaps, extra, closeOnExec }) => {
  const descriptions: DescriptionImage[] = [...first];
  for (const index of pipes.keys()) {
    descriptions.push({ kind: 'pipe', flags: 0, pipe: index }, { kind: 'pipe', flags: 1, pipe: index });
  }
  for (const index of carriedFiles.keys()) {
    const position = BigInt(index);
    descriptions.push({
      kind: 'file',
      flags: 0,
      path: '/carried',
      fileType: 'regular',
      position,
      size: 0n,
      carried: index,
      locks: [],
    });
  }
  if (pair !== null) {
    const at = descriptions.length;
    const end = { kind: 'unix-socket', flags: 2, type: pair, connected: true, shutdown: 1, options: [] } as const;
    descriptions.push({ ...end, peer: at + 1, chunks: pairChunks }, { ...end, peer: at, chunks: [] });
    descriptions.push({ ...end, peer: null, chunks: pairChunks });
  }
  if (descriptions.length > 0) {
    const items = epollItems.map(({ at, ...item }) => ({ ...item, target: at % descriptions.length }));
    descriptions.push({ kind: 'epoll', flags: 2, items } satisfies EpollImage);
  }
  const uses = [...descriptions.keys(), ...extra.map((at) => at % Math.max(descriptions.length, 1))];
  let number = -1;
  return {
    descriptors:
      descriptions.length === 0
        ? []
        : uses.map((description, index) => {
            number += 1 + gaps[index % gaps.length]!;
            return { number, description, closeOnExec };
          }),
    descriptions,
    pipes: pipes.map((pipe) => ({ ...pipe, capacity: 4096 })),
    carriedFiles,
  };
});

const isInvalid = (error: unknown): boolean => error instanceof ComicranError && error.code === 'image.invalid';

/** Decodes; an error other than image.invalid is thrown on. */
function tryDecode(encoded: Uint8Array): DescriptorTableImage | null {
  try {
    return decodeDescriptorTable(encoded);
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

test('a table that is encoded and decoded is the same table', () => {
  fc.assert(
    fc.property(table, (image) => {
      assert.deepEqual(decodeDescriptorTable(encodeDescriptorTable(image)), image);
    }),
  );
});

test('a table that ends early is invalid, wherever it ends', () => {
  fc.assert(
    fc.property(table, (image) => {
      const encoded = encodeDescriptorTable(image);
      for (let length = 0; length < encoded.length; length++) {
        assert.throws(() => decodeDescriptorTable(encoded.subarray(0, length)), isInvalid);
      }
      assert.throws(() => decodeDescriptorTable(Buffer.concat([encoded, Buffer.alloc(1)])), isInvalid);
    }),
    { numRuns: 30 },
  );
});

test('a changed byte gives another table or image.invalid, and nothing else', () => {
  fc.assert(
    fc.property(table, fc.nat(255), (image, change) => {
      const encoded = encodeDescriptorTable(image);
      for (let at = 0; at < encoded.length; at++) {
        const damaged = Buffer.from(encoded);
        damaged[at] = damaged[at]! ^ (change === 0 ? 0x80 : change);
        const decoded = tryDecode(damaged);
        // What is accepted is a table: it can be written and read again.
        if (decoded !== null) assert.deepEqual(decodeDescriptorTable(encodeDescriptorTable(decoded)), decoded);
      }
    }),
    { numRuns: 30 },
  );
});

test('arbitrary bytes behind a valid beginning are image.invalid or a table', () => {
  const beginning = encodeDescriptorTable({ descriptors: [], descriptions: [], pipes: [], carriedFiles: [] }).subarray(
    0,
    6,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (rest) => {
      tryDecode(Buffer.concat([beginning, rest]));
    }),
    { numRuns: 1000 },
  );
});

const eventfd = { kind: 'eventfd', flags: 2, count: 0n, semaphore: false } as const;
const empty = { pipes: [], carriedFiles: [] };
const one = (description: DescriptionImage): DescriptorTableImage => ({
  ...empty,
  descriptors: [{ number: 3, description: 0, closeOnExec: false }],
  descriptions: [description],
});
const udpImage = {
  kind: 'udp-socket',
  flags: 2,
  family: 'inet',
  local: null,
  remote: null,
  shutdown: 'nothing',
  options: [],
  memberships: [],
  filter: Buffer.alloc(0),
} as const;

const BROKEN: readonly (readonly [string, DescriptorTableImage])[] = [
  [
    'a number twice',
    { ...one(eventfd), descriptors: [0, 0].map((description) => ({ number: 3, description, closeOnExec: false })) },
  ],
  ['a description that nobody refers to', { ...one(eventfd), descriptions: [eventfd, eventfd] }],
  [
    'a descriptor of nothing',
    { ...empty, descriptors: [{ number: 0, description: 0, closeOnExec: true }], descriptions: [] },
  ],
  ['a pipe that is not there', one({ kind: 'pipe', flags: 0, pipe: 0 })],
  [
    'an access mode that is none',
    { ...one({ kind: 'pipe', flags: 3, pipe: 0 }), pipes: [{ path: null, hungUp: false, capacity: 1, chunks: [] }] },
  ],
  [
    'a pipe with more in it than fits',
    {
      ...one({ kind: 'pipe', flags: 0, pipe: 0 }),
      pipes: [{ path: null, hungUp: false, capacity: 4, chunks: [Buffer.alloc(5)] }],
    },
  ],
  [
    'an epoll set that watches itself',
    one({ kind: 'epoll', flags: 2, items: [{ target: 0, number: 3, events: 1, data: 0n }] }),
  ],
  [
    'an epoll target that is not there',
    one({ kind: 'epoll', flags: 2, items: [{ target: 1, number: 3, events: 1, data: 0n }] }),
  ],
  [
    'a carried file that is not there',
    one({ kind: 'file', flags: 0, path: '/x', fileType: 'regular', position: 0n, size: 0n, carried: 0, locks: [] }),
  ],
  [
    'a relative path',
    one({ kind: 'file', flags: 0, path: 'x', fileType: 'regular', position: 0n, size: 0n, carried: null, locks: [] }),
  ],
  [
    'an address of another family',
    one({ ...udpImage, local: { address: Buffer.alloc(16), port: 1, scope: '', flowInfo: 0 } }),
  ],
  [
    'a peer that is somebody else’s',
    one({
      kind: 'unix-socket',
      flags: 2,
      type: 'stream',
      connected: true,
      shutdown: 0,
      peer: 0,
      options: [],
      chunks: [],
    }),
  ],
  ['a watch number below one', one({ kind: 'inotify', flags: 0, watches: [{ watch: 0, path: '/', mask: 1 }] })],
];

for (const [what, image] of BROKEN) {
  test(`${what} is invalid`, () => {
    assert.throws(() => decodeDescriptorTable(encodeDescriptorTable(image)), isInvalid);
  });
}

test('errors name what was found and what is known', () => {
  const encoded = encodeDescriptorTable(one(eventfd));
  const changed = (at: number, value: number): Buffer => {
    const copy = Buffer.from(encoded);
    copy[at] = value;
    return copy;
  };
  // magic, version, two empty lists, the length of the third, kind, version of the kind
  assert.throws(() => decodeDescriptorTable(changed(0, 0)), /magic/);
  assert.throws(() => decodeDescriptorTable(changed(4, 9)), /version 9; this program knows 2/);
  assert.throws(() => decodeDescriptorTable(changed(18, 200)), /descriptor kind 200, which this program does not know/);
  assert.throws(() => decodeDescriptorTable(changed(19, 7)), /version 7 of descriptor kind 5; this program knows 1/);
});

test('what nobody has open may be a directory, a symbolic link or a FIFO, and nothing else', () => {
  const table = (mode: number, unlinked = false) => ({
    ...{ descriptors: [], descriptions: [], pipes: [] },
    carriedFiles: [{ path: '/tmp/x', unlinked, mode, uid: 0, gid: 0, contents: Buffer.from('x') }],
  });
  for (const mode of [0o644, 0o040755, 0o120777, 0o010600]) {
    assert.deepEqual(decodeDescriptorTable(encodeDescriptorTable(table(mode))), table(mode));
  }
  for (const bad of [table(0o140755), table(0o060644), table(0o100644), table(0o040755, true)]) {
    assert.throws(() => decodeDescriptorTable(encodeDescriptorTable(bad)), { code: 'image.invalid' });
  }
});
