import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { openAesGcm, TAG_BYTES } from './aes-gcm.ts';

const key = randomBytes(32);

test('both ways make and open the same messages, any number under one key', () => {
  const ways = [openAesGcm(key), openAesGcm(key, false)];
  for (let round = 0; round < 50; round++) {
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32LE(round);
    const associated = randomBytes(4);
    const parts = [randomBytes(round * 7), Buffer.alloc(0), randomBytes(round)];
    const whole = Buffer.concat(parts);
    const sealed = ways.map((way) => {
      const into = Buffer.alloc(whole.length + TAG_BYTES);
      way.encrypt(nonce, associated, parts, into);
      return into;
    });
    assert.deepEqual(sealed[0], sealed[1]);
    for (const [index, way] of ways.entries()) {
      const message = sealed[index]!;
      assert.ok(way.decrypt(nonce, associated, message));
      assert.deepEqual(message.subarray(0, whole.length), whole);
    }
  }
  for (const way of ways) way.close();
});

test('what is damaged does not open, and the next message does', () => {
  for (const quick of [true, false]) {
    const way = openAesGcm(key, quick);
    const nonce = Buffer.alloc(12, 1);
    const seal = (): Buffer => {
      const into = Buffer.alloc(5 + TAG_BYTES);
      way.encrypt(nonce, Buffer.from('head'), [Buffer.from('hello')], into);
      return into;
    };
    for (let at = 0; at < 5 + TAG_BYTES; at++) {
      const damaged = seal();
      damaged[at]! ^= 1;
      assert.equal(way.decrypt(nonce, Buffer.from('head'), damaged), false);
    }
    assert.equal(way.decrypt(nonce, Buffer.from('hehd'), seal()), false);
    assert.equal(way.decrypt(Buffer.alloc(12), Buffer.from('head'), seal()), false);
    assert.ok(way.decrypt(nonce, Buffer.from('head'), seal()));
    way.close();
  }
});
