/** The memory of another process. */
import { closeSync, openSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { EFAULT, EINTR, EIO, KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const PAGE_BYTES = 4096;
/** UIO_MAXIOV of linux/uio.h. */
const MAX_VECTORS = 1024;

export type MemoryRange = { readonly start: bigint; readonly length: number };

/**
 * Reads and writes through /proc/PID/mem. Page protections do not apply to a tracer, so read-only and inaccessible
 * private pages can be read and written too. The address space is the one of the moment of opening: a later execve in
 * the process needs a new object.
 */
export class ProcessMemory {
  readonly pid: number;
  readonly #descriptor: number;

  constructor(pid: number) {
    this.pid = pid;
    this.#descriptor = openSync(`/proc/${pid}/mem`, 'r+');
  }

  read(address: bigint, length: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(length);
    this.readInto(address, bytes);
    return bytes;
  }

  readInto(address: bigint, into: Uint8Array): void {
    this.#transfer('read', SYS.pread64, address, into);
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.#transfer('write', SYS.pwrite64, address, bytes);
  }

  /**
   * Fills `into` with the memory of `ranges`, one behind another, by process_vm_readv, which is nearly twice as fast as
   * /proc/PID/mem on much memory. What it may not read (pages without read permission) is read the other way.
   */
  readRanges(ranges: readonly MemoryRange[], into: Uint8Array): void {
    this.#transferRanges('process_vm_readv', ranges, into, (address, part) => this.readInto(address, part));
  }

  /** The counterpart of {@link readRanges}: writes `bytes` to `ranges`. */
  writeRanges(ranges: readonly MemoryRange[], bytes: Uint8Array): void {
    this.#transferRanges('process_vm_writev', ranges, bytes, (address, part) => this.write(address, part));
  }

  #transferRanges(
    call: 'process_vm_readv' | 'process_vm_writev',
    ranges: readonly MemoryRange[],
    local: Uint8Array,
    forced: (address: bigint, part: Uint8Array) => void,
  ): void {
    const localVector = Buffer.alloc(16);
    const remoteVectors = Buffer.alloc(16 * Math.min(ranges.length, MAX_VECTORS));
    const base = addressOf(local);
    let done = 0;
    // Position of the next byte: a range, and how much of it is done.
    let index = 0;
    let skip = 0;
    while (index < ranges.length) {
      const count = Math.min(ranges.length - index, MAX_VECTORS);
      for (let vector = 0; vector < count; vector++) {
        const { start, length } = ranges[index + vector]!;
        const skipped = vector === 0 ? skip : 0;
        remoteVectors.writeBigUInt64LE(start + BigInt(skipped), vector * 16);
        remoteVectors.writeBigUInt64LE(BigInt(length - skipped), vector * 16 + 8);
      }
      localVector.writeBigUInt64LE(base + BigInt(done), 0);
      localVector.writeBigUInt64LE(BigInt(local.length - done), 8);
      let moved = trySyscall(SYS[call], this.pid, localVector, 1, remoteVectors, count, 0);
      if (moved < 0 && moved !== -EFAULT) throw new KernelError(`${call} of process ${this.pid}`, -moved);
      if (moved <= 0) {
        const { start, length } = ranges[index]!;
        moved = Math.min(PAGE_BYTES, length - skip);
        forced(start + BigInt(skip), local.subarray(done, done + moved));
      }
      done += moved;
      for (skip += moved; index < ranges.length && skip >= ranges[index]!.length; index++)
        skip -= ranges[index]!.length;
    }
  }

  #transfer(verb: 'read' | 'write', number: number, address: bigint, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.length) {
      const part = done === 0 ? bytes : bytes.subarray(done);
      const count = trySyscall(number, this.#descriptor, part, part.length, address + BigInt(done));
      if (count === -EINTR) continue;
      if (count === 0) throw new ComicranError('process.gone', `process ${this.pid} has ended`);
      if (count < 0) {
        const what = `${verb} ${bytes.length} bytes at 0x${address.toString(16)} of process ${this.pid}`;
        throw new KernelError(what, count === -EFAULT ? EIO : -count);
      }
      done += count;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
