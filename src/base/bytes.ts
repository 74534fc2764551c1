import { assert } from './assert.ts';
import { ComicranError } from './errors.ts';

/** Appends little-endian values to a buffer that grows. The result of {@link finish} is a copy of the exact length. */
export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 1024) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.#length;
  }

  #reserve(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#length = needed;
    return at;
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#reserve(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32LE(value, at);
    return this;
  }

  i32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeInt32LE(value, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#reserve(8);
    this.#buffer.writeBigUInt64LE(value, at);
    return this;
  }

  i64(value: bigint): this {
    const at = this.#reserve(8);
    this.#buffer.writeBigInt64LE(value, at);
    return this;
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  /** Raw bytes, without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** Bytes behind a 32-bit length. */
  bytes(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  /** UTF-8 text behind a 32-bit byte length. */
  text(text: string): this {
    return this.bytes(Buffer.from(text, 'utf8'));
  }

  list<T>(items: readonly T[], write: (item: T) => void): this {
    this.u32(items.length);
    for (const item of items) write(item);
    return this;
  }

  finish(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length));
  }
}

/**
 * Reads what {@link ByteWriter} wrote. Never reads past the end: input that is too short, a length that cannot be true
 * and bytes left over are `image.invalid` or the code given, with the name of what was being read.
 */
export class ByteReader {
  readonly #buffer: Buffer;
  readonly #what: string;
  readonly #code: 'image.invalid' | 'peer.protocol';
  #at = 0;

  /** @param what names the input in errors: "process image", "message INPUT". */
  constructor(bytes: Uint8Array, what: string, code: 'image.invalid' | 'peer.protocol' = 'image.invalid') {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#code = code;
  }

  get remaining(): number {
    return this.#buffer.length - this.#at;
  }

  fail(problem: string): never {
    throw new ComicranError(this.#code, `${this.#what} is damaged at byte ${this.#at}: ${problem}`);
  }

  #take(count: number): number {
    assert(count >= 0, 'a negative length');
    const at = this.#at;
    if (count > this.remaining) this.fail(`${count} bytes expected, ${this.remaining} left`);
    this.#at += count;
    return at;
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4));
  }

  i32(): number {
    return this.#buffer.readInt32LE(this.#take(4));
  }

  u64(): bigint {
    return this.#buffer.readBigUInt64LE(this.#take(8));
  }

  i64(): bigint {
    return this.#buffer.readBigInt64LE(this.#take(8));
  }

  bool(): boolean {
    const value = this.u8();
    if (value > 1) this.fail(`a boolean of value ${value}`);
    return value === 1;
  }

  /** A view, not a copy. */
  raw(count: number): Buffer {
    const at = this.#take(count);
    return this.#buffer.subarray(at, at + count);
  }

  bytes(maxBytes = Number.MAX_SAFE_INTEGER): Buffer {
    const length = this.u32();
    if (length > maxBytes) this.fail(`a length of ${length} where ${maxBytes} is the most`);
    return this.raw(length);
  }

  text(maxBytes = 65_536): string {
    const bytes = this.bytes(maxBytes);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      return this.fail('text that is not UTF-8');
    }
  }

  list<T>(read: () => T, maxItems = 1 << 20): T[] {
    const count = this.u32();
    // Every item takes a byte at least: a count beyond the rest of the input cannot be true.
    if (count > maxItems || count > this.remaining) this.fail(`a list of ${count} items`);
    return Array.from({ length: count }, read);
  }

  end(): void {
    if (this.remaining !== 0) this.fail(`${this.remaining} bytes left over`);
  }
}
