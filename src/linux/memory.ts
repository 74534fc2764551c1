/** The memory of another process. */
import { closeSync, openSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { EFAULT, EINTR, EIO, KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/**
 * Reads and writes through /proc/PID/mem. Page protections do not apply to a tracer, so read-only and inaccessible
 * private pages can be read and written too. The address space is the one of the moment of opening: a later execve in
 * the process needs a new object.
 */
export class ProcessMemory {
  readonly pid: number;
  readonly #descriptor: number;
  readonly #local = Buffer.alloc(16);
  readonly #remote = Buffer.alloc(16);

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
   * As {@link readInto}, for much memory: process_vm_readv is nearly twice as fast on large runs. What it may not read
   * (pages without read permission) is read through /proc/PID/mem.
   */
  readBulk(address: bigint, into: Uint8Array): void {
    const base = addressOf(into);
    let done = 0;
    while (done < into.length) {
      this.#local.writeBigUInt64LE(base + BigInt(done), 0);
      this.#local.writeBigUInt64LE(BigInt(into.length - done), 8);
      this.#remote.writeBigUInt64LE(address + BigInt(done), 0);
      this.#remote.writeBigUInt64LE(BigInt(into.length - done), 8);
      const count = trySyscall(SYS.process_vm_readv, this.pid, this.#local, 1, this.#remote, 1, 0);
      if (count > 0) {
        done += count;
        continue;
      }
      if (count < 0 && count !== -EFAULT) throw new KernelError(`process_vm_readv of process ${this.pid}`, -count);
      const rest = Math.min(4096, into.length - done);
      this.readInto(address + BigInt(done), into.subarray(done, done + rest));
      done += rest;
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
