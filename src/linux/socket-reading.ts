/** Everything that the kernel tells of a socket's settings, as bytes: to find out whether any of it has changed. */
import { ENOPROTOOPT, EOPNOTSUPP } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** Of an option of getsockopt(2). */
export type ReadOption = { readonly level: number; readonly number: number; readonly maxBytes: number };

const NAME_BYTES = 128;
const UNKNOWN: readonly number[] = [ENOPROTOOPT, EOPNOTSUPP];

/** A socket as it was when it was read. */
export class SocketReading {
  readonly #options: readonly ReadOption[];
  readonly #values: Buffer;
  /** The length of each value, in and out: of the options, then of both names. */
  readonly #lengths: Buffer;
  /** The room for each value, which the lengths are before a reading. */
  readonly #rooms: Buffer;
  readonly #results: Int32Array;

  /** @param options that count. */
  constructor(options: readonly ReadOption[]) {
    this.#options = options;
    this.#values = Buffer.alloc(options.reduce((sum, { maxBytes }) => sum + maxBytes, 2 * NAME_BYTES));
    this.#lengths = Buffer.alloc((options.length + 2) * 4);
    for (const [index, { maxBytes }] of options.entries()) this.#lengths.writeUInt32LE(maxBytes, index * 4);
    for (const name of [0, 1]) this.#lengths.writeUInt32LE(NAME_BYTES, (options.length + name) * 4);
    this.#rooms = Buffer.from(this.#lengths);
    this.#results = new Int32Array(options.length + 2);
  }

  read(socket: number): this {
    this.#rooms.copy(this.#lengths);
    // Addresses are below 2^47: numbers, which are quicker here than bigints.
    let value = Number(addressOf(this.#values));
    let length = Number(addressOf(this.#lengths));
    let index = 0;
    for (const { level, number, maxBytes } of this.#options) {
      this.#results[index++] = trySyscall(SYS.getsockopt, socket, level, number, value, length);
      value += maxBytes;
      length += 4;
    }
    for (const call of [SYS.getsockname, SYS.getpeername]) {
      this.#results[index++] = trySyscall(call, socket, value, length);
      value += NAME_BYTES;
      length += 4;
    }
    return this;
  }

  /** The options that the kernel knows of such a socket. */
  get known(): ReadOption[] {
    return this.#options.filter((_, index) => !UNKNOWN.includes(-this.#results[index]!));
  }

  equals(other: SocketReading): boolean {
    return (
      this.#values.equals(other.#values) &&
      this.#lengths.equals(other.#lengths) &&
      this.#results.every((result, index) => result === other.#results[index])
    );
  }
}
