import { posix } from 'node:path';
import { EEXIST, ENOENT, KernelError } from './errno.ts';
import { S_IFIFO } from './file-descriptors.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;

export type Owner = { readonly uid: number; readonly gid: number };

/**
 * The root directory of a process, worked on from outside. Paths are resolved as the process would resolve them
 * (openat2(2), RESOLVE_IN_ROOT): no symbolic link in there leads out into the file system of this program.
 */
export class RootDirectory {
  readonly #pid: number;
  readonly #root: number;
  readonly #owner: Owner | null;

  /** @param owner of what is made; null: this program. */
  constructor(pid: number, owner: Owner | null = null) {
    this.#pid = pid;
    this.#owner = owner;
    const path = `/proc/${pid}/root`;
    this.#root = syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), O.PATH | O.DIRECTORY | O.CLOEXEC);
  }

  /** @returns a descriptor, which the caller closes. @throws KernelError */
  open(path: string, flags: number, mode = 0): number {
    const result = this.#tryOpen(path, flags, mode);
    if (result < 0) throw new KernelError(`open ${path} in the root of process ${this.#pid}`, -result);
    return result;
  }

  /** As {@link open}; null: there is no such file. */
  openIfThere(path: string, flags: number): number | null {
    const result = this.#tryOpen(path, flags, 0);
    if (result === -ENOENT) return null;
    if (result < 0) throw new KernelError(`open ${path} in the root of process ${this.#pid}`, -result);
    return result;
  }

  /** Makes the directories that a path needs and that are missing: mode 755. */
  makeParents(path: string): void {
    closeDescriptor(this.#directory(posix.dirname(path)));
  }

  /** One that is there already is replaced. */
  makeSymlink(path: string, target: Uint8Array, { uid, gid }: Owner): void {
    this.#inParent(path, (parent, name) => {
      trySyscall(SYS.unlinkat, parent, name, 0);
      const text = Buffer.concat([target, Buffer.alloc(1)]);
      syscall(`make the symbolic link ${path}`, SYS.symlinkat, text, parent, name);
      syscall(`give ${path} to user ${uid}`, SYS.fchownat, parent, name, uid, gid, AT_SYMLINK_NOFOLLOW);
    });
  }

  /** A FIFO that is there already will do. */
  makeFifo(path: string): void {
    this.#inParent(path, (parent, name) => {
      const result = trySyscall(SYS.mknodat, parent, name, S_IFIFO | 0o600, 0);
      if (result < 0 && result !== -EEXIST) throw new KernelError(`make the FIFO ${path}`, -result);
      if (result >= 0) this.#give(path, parent, name);
    });
  }

  remove(path: string): void {
    this.#inParent(path, (parent, name) => {
      syscall(`unlink ${path}`, SYS.unlinkat, parent, name, 0);
    });
  }

  close(): void {
    closeDescriptor(this.#root);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #tryOpen(path: string, flags: number, mode: number): number {
    // struct open_how: u64 flags, u64 mode, u64 resolve
    const how = Buffer.alloc(24);
    how.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0);
    how.writeBigUInt64LE(BigInt(mode), 8);
    how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
    return trySyscall(SYS.openat2, this.#root, cString(path), how, how.length);
  }

  /** A descriptor of a directory that is made where it is missing, with everything above it. */
  #directory(path: string): number {
    const there = this.openIfThere(path, O.PATH | O.DIRECTORY);
    if (there !== null) return there;
    const parent = this.#directory(posix.dirname(path));
    try {
      const name = cString(posix.basename(path));
      const result = trySyscall(SYS.mkdirat, parent, name, 0o755);
      if (result < 0 && result !== -EEXIST) throw new KernelError(`make the directory ${path}`, -result);
      if (result >= 0) this.#give(path, parent, name);
    } finally {
      closeDescriptor(parent);
    }
    return this.open(path, O.PATH | O.DIRECTORY);
  }

  #give(path: string, parent: number, name: Buffer): void {
    if (this.#owner === null) return;
    const { uid, gid } = this.#owner;
    syscall(`give ${path} to user ${uid}`, SYS.fchownat, parent, name, uid, gid, AT_SYMLINK_NOFOLLOW);
  }

  #inParent(path: string, run: (parent: number, name: Buffer) => void): void {
    const parent = this.#directory(posix.dirname(path));
    try {
      run(parent, cString(posix.basename(path)));
    } finally {
      closeDescriptor(parent);
    }
  }
}
