import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../errors.ts';
import { FrameOpener, FrameSealer, HEADER_BYTES, TAG_BYTES } from './frames.ts';
import {
  ANSWER_BYTES,
  checkAnswer,
  checkHello,
  encodeAnswer,
  encodeHello,
  HELLO_BYTES,
  trafficKeys,
} from './handshake.ts';

const key = randomBytes(32);
const MAX = 1000;
const pair = (): { sealer: FrameSealer; opener: FrameOpener } => ({
  sealer: new FrameSealer(key, MAX),
  opener: new FrameOpener(key, MAX),
});
const isDamage = (error: unknown): boolean => error instanceof ComicranError && error.code === 'peer.protocol';

test('a message comes out of its frame as it went in, whatever its parts', () => {
  const { sealer, opener } = pair();
  const parts = fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 8 });
  fc.assert(
    fc.property(parts, (message) => {
      const frame = Buffer.concat(sealer.seal(message));
      assert.equal(opener.frameBytes(frame), frame.length);
      assert.deepEqual(opener.open(frame), Buffer.concat(message));
    }),
  );
});

test('prepared or not, frames are the same', () => {
  const { sealer, opener } = pair();
  for (const [preparesSealer, preparesOpener] of [
    [true, false],
    [true, true],
    [false, true],
    [false, false],
  ]) {
    if (preparesSealer) for (let i = 0; i < 2; i++) sealer.prepare();
    if (preparesOpener) for (let i = 0; i < 2; i++) opener.prepare();
    const frame = Buffer.concat(sealer.seal([Buffer.from('hello')]));
    assert.equal(opener.open(frame).toString(), 'hello');
  }
  const prepared = new FrameSealer(key, MAX);
  prepared.prepare();
  const frames = [prepared, new FrameSealer(key, MAX)].map((one) => Buffer.concat(one.seal([Buffer.from('x')])));
  assert.deepEqual(frames[0], frames[1]);
});

test('a frame that was changed in any bit does not open', () => {
  const message = randomBytes(40);
  fc.assert(
    fc.property(fc.nat(HEADER_BYTES + message.length + TAG_BYTES - 1), fc.nat(7), (byte, bit) => {
      const { sealer, opener } = pair();
      const frame = Buffer.concat(sealer.seal([message]));
      frame[byte]! ^= 1 << bit;
      assert.throws(() => opener.open(frame), isDamage);
    }),
  );
});

test('frames that are missing, repeated or swapped do not open', () => {
  const seal = (): Buffer[] => {
    const { sealer } = pair();
    return ['a', 'b', 'c'].map((text) => Buffer.concat(sealer.seal([Buffer.from(text)])));
  };
  for (const order of [[1], [0, 0], [0, 2], [0, 1, 0]]) {
    const frames = seal();
    const { opener } = pair();
    assert.throws(() => order.map((index) => opener.open(frames[index]!)), isDamage, `order ${order}`);
  }
});

test('a length above the limit is refused before anything of that length is read', () => {
  const { opener } = pair();
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAX + 1);
  assert.throws(() => opener.frameBytes(header), isDamage);
});

test('a handshake gives both sides the same keys, and every handshake others', () => {
  const once = (): Buffer[] => {
    const c = randomBytes(32);
    const hello = encodeHello(key, c);
    assert.equal(hello.length, HELLO_BYTES);
    const seen = checkHello(key, hello)!;
    const a = randomBytes(32);
    const answer = encodeAnswer(key, seen, a);
    assert.equal(answer.length, ANSWER_BYTES);
    const accepting = trafficKeys(key, seen, a);
    const connecting = trafficKeys(key, c, checkAnswer(key, c, answer)!);
    assert.deepEqual(accepting, connecting);
    return [accepting.accepting, accepting.connecting];
  };
  const keys = [...once(), ...once()].map((bytes) => bytes.toString('hex'));
  assert.equal(new Set(keys).size, 4);
});

test('who does not have the key proves nothing', () => {
  const other = randomBytes(32);
  const c = randomBytes(32);
  const a = randomBytes(32);
  assert.equal(checkHello(key, encodeHello(other, c)), undefined);
  assert.equal(checkHello(key, Buffer.alloc(HELLO_BYTES)), undefined);
  assert.equal(checkAnswer(key, c, encodeAnswer(other, c, a)), undefined);
  assert.equal(checkAnswer(key, c, encodeAnswer(key, randomBytes(32), a)), undefined, 'the answer to another HELLO');
  const hello = encodeHello(key, c);
  hello[0]! ^= 1;
  assert.equal(checkHello(key, hello), undefined, 'another version');
});
