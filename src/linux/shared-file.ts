/**
 * A file in memory that is shared with the kernel's copy of it: what is written there, by this program or by a system call
 * on its behalf, is in the file at once and outlives the program, though not the machine.
 */
import { closeSync, ftruncateSync, openSync } from 'node:fs';
import koffi from 'koffi';
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

export type SharedFile = {
  /** Not to be touched any more after {@link close}. */
  readonly bytes: Buffer;
  close(): void;
};

/** Makes a file of zeros, only for its owner. @throws Error of node:fs where there is one of that name already. */
export function createSharedFile(path: string, length: number): SharedFile {
  const descriptor = openSync(path, 'wx+', 0o600);
  try {
    ftruncateSync(descriptor, length);
    const address = syscall(`map ${path}`, SYS.mmap, 0, length, PROT_READ_WRITE, MAP_SHARED, descriptor, 0);
    return {
      bytes: Buffer.from(koffi.view(BigInt(address), length)),
      close: () => void syscall(`unmap ${path}`, SYS.munmap, address, length),
    };
  } finally {
    closeSync(descriptor);
  }
}
