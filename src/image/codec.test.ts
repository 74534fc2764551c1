import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { decodeProcessImage, encodeProcessImage } from './codec.ts';
import { packSections, unpackSections } from './envelope.ts';
import { AREA_FLAGS, type MemoryArea, type ProcessImage, type ThreadImage } from './types.ts';

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true }) as fc.Arbitrary<T>;
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const i64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const u32 = fc.nat(0xffff_ffff);
const exactly = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((each) => Buffer.from(each));
const atMost = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((each) => Buffer.from(each));
const path = fc.string({ maxLength: 30 }).map((text) => `/${text.replaceAll('\0', '')}`);
const id = fc.integer({ min: 1, max: 1 << 22 });
const signal = fc.integer({ min: 1, max: 64 });
const siginfo = fc.tuple(signal, exactly(128)).map(([number, info]) => {
  info.writeInt32LE(number, 0);
  return info;
});
const ids = fc.tuple(u32, u32, u32, u32);

const thread: fc.Arbitrary<ThreadImage> = record({
  tid: id,
  name: atMost(15),
  registers: exactly(216),
  extendedState: atMost(3000),
  signalMask: u64,
  alternateStack: record({ address: u64, flags: u32, size: u64 }),
  rseq: record({ address: u64, size: u32, signature: u32, flags: u32 }),
  robustList: record({ head: u64, length: u64 }),
  clearTidAddress: u64,
  parentDeathSignal: fc.nat(64),
  timerSlackNanos: u64,
  pendingSignals: fc.array(siginfo, { maxLength: 3 }),
  credentials: record({
    userIds: ids,
    groupIds: ids,
    groups: fc.array(u32, { maxLength: 4 }),
    capabilities: record({ inheritable: u64, permitted: u64, effective: u64, bounding: u64, ambient: u64 }),
    secureBits: u32,
    noNewPrivileges: fc.boolean(),
  }),
  scheduling: record({
    policy: fc.nat(7),
    resetOnFork: fc.boolean(),
    nice: fc.integer({ min: -20, max: 19 }),
    priority: fc.nat(99),
    affinity: atMost(16),
  }),
});

/** Areas one behind the other, with and without room between them, of files below a count. */
const areas = (files: number): fc.Arbitrary<MemoryArea[]> =>
  fc
    .array(
      record({
        gap: fc.nat(3),
        pages: fc.integer({ min: 1, max: 1000 }),
        protection: fc.nat(7),
        flags: fc.nat(AREA_FLAGS),
        file: files === 0 ? fc.constant(null) : fc.option(fc.nat(files - 1)),
        fileOffset: u64,
        name: fc.string({ maxLength: 10 }),
      }),
      { maxLength: 6 },
    )
    .map((list) => {
      let at = 0x10000n;
      return list.map(({ gap, pages, ...rest }) => {
        const start = at + BigInt(gap) * 4096n;
        at = start + BigInt(pages) * 4096n;
        return { start, end: at, ...rest };
      });
    });

const timer = (tids: readonly number[]) =>
  record({
    id: fc.nat(0x7fff_ffff),
    clock: fc.integer({ min: -100, max: 12 }),
    notification: fc.oneof(
      record({ kind: fc.constant('none' as const) }),
      record({ kind: fc.constant('signal' as const), signal, value: u64 }),
      record({ kind: fc.constant('thread' as const), signal, value: u64, tid: fc.constantFrom(...tids) }),
    ),
    remainingNanos: u64,
    intervalNanos: u64,
  });
const idRanges = fc.array(record({ inside: u32, outside: u32, count: u32 }), { maxLength: 3 });
const interval = record({ remainingMicros: u64, intervalMicros: u64 });

const image: fc.Arbitrary<ProcessImage> = fc
  .tuple(
    fc.uniqueArray(thread, { minLength: 1, maxLength: 3, selector: ({ tid }) => tid }),
    fc.array(record({ path, size: u64, headDigest: exactly(32) }), { maxLength: 3 }),
  )
  .chain(([threads, files]) =>
    record<ProcessImage>({
      platform: record({
        kernelRelease: fc.string({ maxLength: 20 }),
        kernelVersion: fc.string({ maxLength: 20 }),
        vdsoDigest: exactly(32),
        cpuFeatures: fc.array(fc.string({ maxLength: 10 }), { maxLength: 5 }),
        extendedStateMask: u64,
        bootId: fc.string({ maxLength: 20 }),
        realtimeNanos: i64,
        monotonicNanos: i64,
        boottimeNanos: i64,
      }),
      process: record({
        pid: fc.constant(threads[0]!.tid),
        processGroup: fc.nat(1 << 22),
        session: fc.nat(1 << 22),
        executable: path,
        workingDirectory: path,
        umask: fc.nat(0o777),
        personality: u32,
        dumpable: fc.boolean(),
        childSubreaper: fc.boolean(),
        transparentHugePagesDisabled: fc.boolean(),
        oomScoreAdjust: fc.integer({ min: -1000, max: 1000 }),
        grantedStateMask: u64,
        seccompFilters: fc.array(
          fc.integer({ min: 1, max: 20 }).map((count) => Buffer.alloc(count * 8, count)),
          { maxLength: 2 },
        ),
        limits: fc.array(record({ soft: u64, hard: u64 }), { maxLength: 16 }),
        ids: record({ users: idRanges, groups: idRanges }),
      }),
      memory: record({
        areas: areas(files.length),
        specials: fc.constantFrom([], [{ name: '[vdso]', start: 0x7fff_0000_0000n, end: 0x7fff_0000_2000n }]),
        files: fc.constant(files),
        fields: record({
          startCode: u64,
          endCode: u64,
          startData: u64,
          endData: u64,
          startBrk: u64,
          brk: u64,
          startStack: u64,
          argStart: u64,
          argEnd: u64,
          envStart: u64,
          envEnd: u64,
        }),
        auxv: atMost(400),
        pageBytes: u64,
      }),
      signals: record({ actions: exactly(2048), pending: fc.array(siginfo, { maxLength: 2 }) }),
      timers: record({
        posix: fc.uniqueArray(timer(threads.map(({ tid }) => tid)), { maxLength: 3, selector: (each) => each.id }),
        intervals: fc.tuple(interval, interval, interval),
      }),
      threads: fc.constant(threads),
      descriptors: fc.constant({
        descriptors: [{ number: 3, description: 0, closeOnExec: true }],
        descriptions: [{ kind: 'eventfd' as const, flags: 2, count: 5n, semaphore: false }],
        pipes: [],
        carriedFiles: [],
      }),
    }),
  );

const sample = fc.sample(image, { numRuns: 1, seed: 7 })[0]!;

/** The image, or the error that says why not; any other failure is one of the decoder's. */
function decoded(bytes: Uint8Array): ProcessImage | ComicranError {
  try {
    return decodeProcessImage(bytes);
  } catch (error) {
    if (error instanceof ComicranError && error.code === 'image.invalid') return error;
    throw error;
  }
}

/** With the checksum made to fit again, so that the decoder sees what was changed. */
function resealed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(0, bytes.length - 4)), bytes.length - 4);
  return bytes;
}

test('what is encoded is decoded', () => {
  fc.assert(
    fc.property(image, (each) => {
      assert.deepEqual(decodeProcessImage(encodeProcessImage(each)), each);
    }),
    { numRuns: 60 },
  );
});

test('an image that ends early, at whatever byte, is an error', () => {
  const bytes = encodeProcessImage(sample);
  for (let length = 0; length < bytes.length; length++)
    assert.ok(decoded(bytes.subarray(0, length)) instanceof ComicranError, `${length} of ${bytes.length} bytes`);
  assert.ok(decoded(Buffer.concat([bytes, Buffer.alloc(1)])) instanceof ComicranError);
});

test('an image with any one bit flipped is an error', () => {
  const bytes = encodeProcessImage(sample);
  for (let bit = 0; bit < bytes.length * 8; bit += 3) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    assert.ok(decoded(changed) instanceof ComicranError, `bit ${bit}`);
  }
});

test('an image with other bytes and the right checksum is an image or an error, never anything else', () => {
  const bytes = encodeProcessImage(sample);
  const change = fc.tuple(fc.nat(bytes.length - 5), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const changed = Buffer.from(bytes);
      for (const [at, value] of changes) changed[at] = value;
      decoded(resealed(changed));
    }),
    { numRuns: 3000 },
  );
  // Lengths and counts that cannot be true must not make it reserve memory for them.
  for (let at = 0; at + 4 <= bytes.length - 4; at++) {
    const changed = Buffer.from(bytes);
    changed.writeUInt32LE(0xffff_fff0, at);
    decoded(resealed(changed));
  }
});

test('arbitrary bytes are an error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.ok(decoded(bytes) instanceof ComicranError);
    }),
  );
});

test('a section of another version or tag is named', () => {
  const sections = [...unpackSections(encodeProcessImage(sample)).values()];
  const message = (changed: typeof sections): string => {
    const result = decoded(packSections(changed));
    assert.ok(result instanceof ComicranError);
    return result.message;
  };
  const newer = sections.map((section) => (section.tag === 3 ? { ...section, version: 9 } : section));
  assert.match(message(newer), /section memory.* version 9; this program knows 1/);
  assert.match(message([...sections, { tag: 99, version: 1, bytes: Buffer.alloc(0) }]), /section 99 is not known/);
  assert.match(message(sections.filter(({ tag }) => tag !== 6)), /section 6 \(threads\) is missing/);
  assert.match(message([...sections, sections[0]!]), /section 1 twice/);
});

test('an image that contradicts itself is an error that says how', () => {
  const message = (change: Partial<ProcessImage>): string => {
    const result = decoded(encodeProcessImage({ ...sample, ...change }));
    assert.ok(result instanceof ComicranError);
    return result.message;
  };
  const area = { end: 0x3000n, protection: 3, flags: 0, file: null, fileOffset: 0n, name: '' };
  const withAreas = (...list: MemoryArea[]): string =>
    message({ memory: { ...sample.memory, specials: [], areas: list } });
  assert.match(withAreas({ ...area, start: 0x1000n }, { ...area, start: 0x2000n }), /0x2000 out of order/);
  assert.match(withAreas({ ...area, start: 0x1001n }), /memory area 0x1001-0x3000/);
  assert.match(withAreas({ ...area, start: 0x1000n, file: 77 }), /mapped file 77/);
  assert.match(withAreas({ ...area, start: 0x1000n, flags: 1 << 30 }), /area flags/);
  assert.match(message({ process: { ...sample.process, pid: sample.process.pid + 1 } }), /not the main thread/);
  assert.match(message({ process: { ...sample.process, executable: 'node' } }), /executable "node"/);
  assert.match(message({ threads: [] }), /without threads/);
  assert.match(message({ signals: { ...sample.signals, actions: Buffer.alloc(5) } }), /signal actions of 5 bytes/);
});

test('the bytes of an envelope are what they are', () => {
  const bytes = packSections([{ tag: 0x0102, version: 3, bytes: Buffer.from('xyz') }]);
  assert.equal(
    bytes.toString('hex'),
    `4352494d4147451a0100010002010300030000007879${'7a'}${bytes.toString('hex', 23)}`,
  );
  assert.equal(bytes.length, 27);
});
