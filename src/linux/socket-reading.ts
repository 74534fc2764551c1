/** Everything that the kernel tells of a socket's settings, as bytes: to find out whether any of it has changed. */
import { ENOPROTOOPT, EOPNOTSUPP } from './errno.ts';
import { SyscallBatch } from './syscall-batch.ts';
import { SYS } from './syscall-numbers.ts';

/** Of an option of getsockopt(2). */
export type ReadOption = { readonly level: number; readonly number: number; readonly maxBytes: number };

const NAME_BYTES = 128;
const UNKNOWN: readonly number[] = [ENOPROTOOPT, EOPNOTSUPP];

const POLL_BYTES = 8;

/** A socket as it was when it was read. */
export class SocketReading {
  readonly #options: readonly ReadOption[];
  readonly #batch: SyscallBatch;
  readonly #values: Buffer;
  /** The length of each value, in and out: of the options, then of both names. */
  readonly #lengths: Buffer;
  /** The room for each value, which the lengths are before a reading. */
  readonly #rooms: Buffer;

  /** @param options that count. @param events of poll(2) that count. */
  constructor(socket: number, options: readonly ReadOption[], events: number) {
    this.#options = options;
    this.#batch = new SyscallBatch(options.length + 3);
    const bytes = options.reduce((sum, { maxBytes }) => sum + maxBytes, 0);
    this.#values = Buffer.alloc(POLL_BYTES + bytes + 2 * NAME_BYTES);
    this.#lengths = Buffer.alloc((options.length + 2) * 4);
    let value = POLL_BYTES;
    let length = 0;
    const room = (size: number): [Buffer, Buffer] => {
      this.#lengths.writeUInt32LE(size, length);
      const part: [Buffer, Buffer] = [this.#values.subarray(value), this.#lengths.subarray(length)];
      value += size;
      length += 4;
      return part;
    };
    for (const { level, number, maxBytes } of options)
      this.#batch.add(SYS.getsockopt, socket, level, number, ...room(maxBytes));
    for (const call of [SYS.getsockname, SYS.getpeername]) this.#batch.add(call, socket, ...room(NAME_BYTES));
    this.#values.writeInt32LE(socket, 0);
    this.#values.writeInt16LE(events, 4);
    this.#batch.add(SYS.poll, this.#values, 1, 0);
    this.#rooms = Buffer.from(this.#lengths);
  }

  read(): this {
    this.#rooms.copy(this.#lengths);
    this.#batch.run();
    return this;
  }

  /** The options that the kernel knows of such a socket. */
  get known(): ReadOption[] {
    return this.#options.filter((_, index) => !UNKNOWN.includes(-this.#batch.result(index)));
  }

  /** Whether what counts was the same. @param other has been made as this one. */
  equals(other: SocketReading): boolean {
    return (
      this.#values.equals(other.#values) && this.#lengths.equals(other.#lengths) && this.#batch.gaveSame(other.#batch)
    );
  }
}
