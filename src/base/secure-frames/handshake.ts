/**
 * How two machines that share a key begin a connection: each proves that it has the key, and both come to keys that no
 * other connection uses, so that a counter is a nonce for AES-GCM.
 *
 *     connecting                                                  accepting
 *       │ ── HELLO   magic, random c, HMAC(key, "connecting" c) ────► │
 *       │ ◄─────── ANSWER   random a, HMAC(key, "accepting" c a) ──── │
 *       │ ── first frame, empty, sealed with the new keys ──────────► │  only now is it the peer
 *
 * The HMAC of HELLO keeps strangers out before anything is computed for them; the first frame keeps out who has
 * recorded a HELLO. The traffic keys are HKDF-SHA256(key, salt c a), one a direction. Pure: bytes in, bytes out.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { assert } from '../assert.ts';

/** Of the key that both sides are given, and of the traffic keys (AES-256). */
export const KEY_BYTES = 32;
export const RANDOM_BYTES = 32;
const PROOF_BYTES = 32;
/** Changes with every change of the handshake or of the frames. */
const MAGIC = Buffer.from('COMICRN1', 'latin1');

export const HELLO_BYTES = MAGIC.length + RANDOM_BYTES + PROOF_BYTES;
export const ANSWER_BYTES = RANDOM_BYTES + PROOF_BYTES;

export type TrafficKeys = { readonly connecting: Buffer; readonly accepting: Buffer };

function proof(key: Uint8Array, role: keyof TrafficKeys, ...randoms: readonly Uint8Array[]): Buffer {
  assert(key.length === KEY_BYTES, `a key of ${key.length} bytes`);
  const hmac = createHmac('sha256', key).update(`comicran channel ${role}`);
  for (const random of randoms) hmac.update(random);
  return hmac.digest();
}

export function encodeHello(key: Uint8Array, connectingRandom: Uint8Array): Buffer {
  return Buffer.concat([MAGIC, connectingRandom, proof(key, 'connecting', connectingRandom)]);
}

/** @returns the peer's random bytes; undefined: not a HELLO of someone who has the key. */
export function checkHello(key: Uint8Array, hello: Buffer): Buffer | undefined {
  assert(hello.length === HELLO_BYTES, `a HELLO of ${hello.length} bytes`);
  const random = Buffer.from(hello.subarray(MAGIC.length, MAGIC.length + RANDOM_BYTES));
  const proven = timingSafeEqual(hello.subarray(MAGIC.length + RANDOM_BYTES), proof(key, 'connecting', random));
  return proven && hello.subarray(0, MAGIC.length).equals(MAGIC) ? random : undefined;
}

export function encodeAnswer(key: Uint8Array, connectingRandom: Uint8Array, acceptingRandom: Uint8Array): Buffer {
  return Buffer.concat([acceptingRandom, proof(key, 'accepting', connectingRandom, acceptingRandom)]);
}

/** @returns the peer's random bytes; undefined: not the answer to this HELLO of someone who has the key. */
export function checkAnswer(key: Uint8Array, connectingRandom: Uint8Array, answer: Buffer): Buffer | undefined {
  assert(answer.length === ANSWER_BYTES, `an ANSWER of ${answer.length} bytes`);
  const random = Buffer.from(answer.subarray(0, RANDOM_BYTES));
  const expected = proof(key, 'accepting', connectingRandom, random);
  return timingSafeEqual(answer.subarray(RANDOM_BYTES), expected) ? random : undefined;
}

export function trafficKeys(key: Uint8Array, connectingRandom: Uint8Array, acceptingRandom: Uint8Array): TrafficKeys {
  const salt = Buffer.concat([connectingRandom, acceptingRandom]);
  const derive = (role: keyof TrafficKeys): Buffer =>
    Buffer.from(hkdfSync('sha256', key, salt, `comicran channel ${role} traffic`, KEY_BYTES));
  return { connecting: derive('connecting'), accepting: derive('accepting') };
}
