import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../../base/errors.ts';
import { MAX_MESSAGE_BYTES } from '../messages.ts';
import { FrameReader, frameHeader } from './framing.ts';

const framed = (frame: Uint8Array): Buffer => Buffer.concat([frameHeader([frame]), frame]);

test('frames come out as they went in, wherever the stream is cut into pieces', () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.array(fc.nat(400)), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(framed));
      const places = [0, ...cuts.map((cut) => cut % stream.length).toSorted((a, b) => a - b), stream.length];
      const reader = new FrameReader();
      const got = places.slice(1).flatMap((place, index) => reader.push(stream.subarray(places[index], place)));
      assert.deepEqual(
        got.map((frame) => [...frame]),
        sent.map((frame) => [...frame]),
      );
      assert.ok(reader.atBoundary);
    }),
  );
});

test('the end of a stream inside of a frame is told from one between two', () => {
  const stream = framed(Buffer.from('hello'));
  for (let length = 1; length < stream.length; length++) {
    const reader = new FrameReader();
    assert.deepEqual(reader.push(stream.subarray(0, length)), []);
    assert.equal(reader.atBoundary, false);
  }
});

test('a length that no message has is refused before anything is set aside for it', () => {
  for (const length of [0, MAX_MESSAGE_BYTES + 1, 0xffff_ffff]) {
    const header = Buffer.alloc(4);
    header.writeUInt32LE(length);
    assert.throws(
      () => new FrameReader().push(header),
      (error) =>
        error instanceof ComicranError && error.code === 'peer.protocol' && error.message.includes(String(length)),
    );
  }
});

test('a large frame that is given back is used again', () => {
  const reader = new FrameReader();
  const [first] = reader.push(framed(Buffer.alloc(100_000, 1)));
  assert.ok(first);
  reader.recycle(first);
  const [second] = reader.push(framed(Buffer.alloc(90_000, 2)));
  assert.equal(second?.buffer, first.buffer);
  assert.equal(second?.length, 90_000);
});
