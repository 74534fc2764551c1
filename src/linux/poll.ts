/** Waiting for descriptors: ppoll(2), which blocks the calling thread. */
import { EINTR, KernelError } from './errno.ts';
import { trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** struct pollfd: i32 descriptor, i16 events, i16 returned events. */
const ENTRY_BYTES = 8;
const SIGSET_BYTES = 8;

/**
 * A set of descriptors to wait for, in a buffer that is laid out once. Entries are known by their position. A negative
 * descriptor is an entry that is passed over.
 */
export class PollSet {
  readonly #entries: Buffer;
  readonly #timeout = Buffer.alloc(16);
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
    this.#entries = Buffer.alloc(count * ENTRY_BYTES);
    for (let index = 0; index < count; index++) this.set(index, -1, 0);
  }

  /** @param events of {@link import('./file-descriptors.ts').POLL}; errors and hang-ups are reported unasked. */
  set(index: number, descriptor: number, events: number): void {
    this.#entries.writeInt32LE(descriptor, index * ENTRY_BYTES);
    this.#entries.writeInt16LE(events, index * ENTRY_BYTES + 4);
  }

  /**
   * Blocks until an entry is ready. @param timeoutMs may have a fraction; 0 or less only looks.
   * @returns how many entries are ready; 0 also when a signal came in between, before the time was over.
   */
  wait(timeoutMs: number): number {
    const micros = Math.max(0, Math.ceil(timeoutMs * 1000));
    this.#timeout.writeBigInt64LE(BigInt(Math.floor(micros / 1_000_000)), 0);
    this.#timeout.writeBigInt64LE(BigInt(micros % 1_000_000) * 1000n, 8);
    const ready = trySyscall(SYS.ppoll, this.#entries, this.#count, this.#timeout, null, SIGSET_BYTES);
    if (ready >= 0) return ready;
    if (ready !== -EINTR) throw new KernelError('ppoll', -ready);
    for (let index = 0; index < this.#count; index++) this.#entries.writeInt16LE(0, index * ENTRY_BYTES + 6);
    return 0;
  }

  /** What the last wait found of an entry. */
  found(index: number): number {
    return this.#entries.readUInt16LE(index * ENTRY_BYTES + 6);
  }
}
