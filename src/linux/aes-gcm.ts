/**
 * AES-256-GCM for many short messages under one key. To set a cipher up through node:crypto takes 10 µs for each message,
 * longer than to encrypt 16 KiB; here one context of OpenSSL's, which Node has in it, is used for all of them (EVP_CipherInit_ex(3)
 * with a new nonce alone). A Node that does not export OpenSSL gets the same through node:crypto.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import koffi from 'koffi';
import { assert } from '../base/assert.ts';

export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

const CIPHER = 'aes-256-gcm';
/** EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG of openssl/evp.h. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;

type Pointer = unknown;
type Bytes = Uint8Array | null;
type OpenSsl = {
  readonly make: () => Pointer;
  readonly free: (context: Pointer) => void;
  readonly cipher: () => Pointer;
  readonly init: (context: Pointer, cipher: Pointer, engine: null, key: Bytes, nonce: Bytes, encrypt: number) => number;
  readonly update: (context: Pointer, out: Bytes, length: Uint8Array, from: Uint8Array, bytes: number) => number;
  readonly final: (context: Pointer, out: Uint8Array, length: Uint8Array) => number;
  readonly control: (context: Pointer, what: number, length: number, bytes: Uint8Array) => number;
};

function loadOpenSsl(): OpenSsl | undefined {
  try {
    const node = koffi.load(null);
    const find = <T>(prototype: string): T => node.func(prototype) as unknown as T;
    return {
      make: find('void *EVP_CIPHER_CTX_new()'),
      free: find('void EVP_CIPHER_CTX_free(void *)'),
      cipher: find('void *EVP_aes_256_gcm()'),
      init: find('int EVP_CipherInit_ex(void *, void *, void *, void *, void *, int)'),
      update: find('int EVP_CipherUpdate(void *, void *, void *, void *, int)'),
      final: find('int EVP_CipherFinal_ex(void *, void *, void *)'),
      control: find('int EVP_CIPHER_CTX_ctrl(void *, int, int, void *)'),
    };
  } catch {
    return undefined;
  }
}

const openSsl = loadOpenSsl();

/** One key, one direction. No nonce may be used twice for encryption. */
export interface AesGcm {
  /**
   * @param into room for the parts and the tag, which stands behind them.
   * @param associated is authenticated with them, and not in the result.
   */
  encrypt(nonce: Uint8Array, associated: Uint8Array, parts: readonly Uint8Array[], into: Uint8Array): void;
  /**
   * Decrypts in place. @param sealed ends in the tag.
   * @returns false: it is damaged, or of another key, nonce or associated data; what is in `sealed` then is nothing.
   */
  decrypt(nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array): boolean;
  close(): void;
}

/** @param key 32 bytes. @param quick false: through node:crypto in any case. */
export function openAesGcm(key: Uint8Array, quick = true): AesGcm {
  assert(key.length === KEY_BYTES, `a key of ${key.length} bytes`);
  return quick && openSsl !== undefined ? new OpenSslAesGcm(openSsl, key) : new NodeAesGcm(key);
}

class OpenSslAesGcm implements AesGcm {
  readonly #ssl: OpenSsl;
  readonly #key: Buffer;
  readonly #length = Buffer.alloc(4);
  readonly #end = Buffer.alloc(32);
  #context: Pointer;
  /** 1: the context encrypts; 0: it decrypts; -1: it has no key yet. */
  #direction = -1;

  constructor(ssl: OpenSsl, key: Uint8Array) {
    this.#ssl = ssl;
    this.#key = Buffer.from(key);
    this.#context = ssl.make();
    assert(this.#context !== null, 'no memory for a cipher');
  }

  #begin(direction: 0 | 1, nonce: Uint8Array, associated: Uint8Array): void {
    const isNew = this.#direction !== direction;
    const cipher = isNew ? this.#ssl.cipher() : null;
    assert(nonce.length === NONCE_BYTES, `a nonce of ${nonce.length} bytes`);
    this.#check(this.#ssl.init(this.#context, cipher, null, isNew ? this.#key : null, nonce, direction));
    this.#direction = direction;
    this.#check(this.#ssl.update(this.#context, null, this.#length, associated, associated.length));
  }

  #check(result: number): void {
    assert(result === 1, 'OpenSSL refuses a cipher');
  }

  encrypt(nonce: Uint8Array, associated: Uint8Array, parts: readonly Uint8Array[], into: Uint8Array): void {
    this.#begin(1, nonce, associated);
    let at = 0;
    for (const part of parts) {
      if (part.length === 0) continue;
      assert(at + part.length + TAG_BYTES <= into.length, 'no room for a sealed message');
      this.#check(this.#ssl.update(this.#context, into.subarray(at), this.#length, part, part.length));
      at += part.length;
    }
    this.#check(this.#ssl.final(this.#context, this.#end, this.#length));
    this.#check(this.#ssl.control(this.#context, GET_TAG, TAG_BYTES, into.subarray(at, at + TAG_BYTES)));
  }

  decrypt(nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array): boolean {
    this.#begin(0, nonce, associated);
    const bytes = sealed.length - TAG_BYTES;
    if (bytes > 0) this.#check(this.#ssl.update(this.#context, sealed, this.#length, sealed, bytes));
    this.#check(this.#ssl.control(this.#context, SET_TAG, TAG_BYTES, sealed.subarray(bytes)));
    return this.#ssl.final(this.#context, this.#end, this.#length) === 1;
  }

  close(): void {
    if (this.#context !== null) this.#ssl.free(this.#context);
    this.#context = null;
  }
}

class NodeAesGcm implements AesGcm {
  readonly #key: Buffer;

  constructor(key: Uint8Array) {
    this.#key = Buffer.from(key);
  }

  encrypt(nonce: Uint8Array, associated: Uint8Array, parts: readonly Uint8Array[], into: Uint8Array): void {
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    cipher.setAAD(associated);
    let at = 0;
    for (const part of parts) {
      into.set(cipher.update(part), at);
      at += part.length;
    }
    cipher.final();
    into.set(cipher.getAuthTag(), at);
  }

  decrypt(nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array): boolean {
    const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(associated);
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
    const bytes = decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return false;
    }
    sealed.set(bytes, 0);
    return true;
  }

  close(): void {
    this.#key.fill(0);
  }
}
