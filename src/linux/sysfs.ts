/** sysfs of a network namespace: it shows the devices of the namespace that it was mounted in. */
import { KernelError } from './errno.ts';
import { readOnce } from './file-descriptors.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const FSCONFIG_CMD_CREATE = 6;
const FSMOUNT_CLOEXEC = 1;
const FSOPEN_CLOEXEC = 1;
/** Longest file of sysfs. */
const FILE_BYTES = 4096;

/**
 * Runs with a descriptor of a sysfs of the calling thread's network namespace. Mounting one anywhere would be seen by
 * others: so it is mounted nowhere (fsmount(2), Linux 5.2), and is gone with its descriptor. Files that are opened stay
 * open.
 */
export function inSysfs<T>(run: (root: number) => T): T {
  const context = syscall('fsopen sysfs', SYS.fsopen, cString('sysfs'), FSOPEN_CLOEXEC);
  let root = -1;
  try {
    syscall('fsconfig sysfs', SYS.fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0);
    root = syscall('fsmount sysfs', SYS.fsmount, context, FSMOUNT_CLOEXEC, 0);
    return run(root);
  } finally {
    for (const descriptor of [root, context]) if (descriptor >= 0) closeDescriptor(descriptor);
  }
}

/** The caller closes it. @throws KernelError ENOENT */
export function openInSysfs(root: number, path: string, flags: number): number {
  return syscall(`open ${path} in sysfs`, SYS.openat, root, cString(path), flags | O.CLOEXEC);
}

export function readInSysfs(root: number, path: string): string {
  const file = openInSysfs(root, path, O.RDONLY);
  try {
    const bytes = Buffer.alloc(FILE_BYTES);
    return bytes.toString('latin1', 0, readOnce(file, bytes) ?? 0);
  } finally {
    closeDescriptor(file);
  }
}

/** A counter of a device, which is read in some microseconds. */
export class LinkCounter {
  readonly #name: string;
  readonly #file: number;
  readonly #text = Buffer.alloc(32);
  #closed = false;

  /** In the network namespace of the calling thread. The caller closes it. @param counter one of `statistics/` */
  constructor(link: string, counter: string) {
    this.#name = `${counter} of link ${link}`;
    this.#file = inSysfs((root) => openInSysfs(root, `class/net/${link}/statistics/${counter}`, O.RDONLY));
  }

  /** @throws KernelError ENODEV: the device is gone */
  read(): number {
    const length = trySyscall(SYS.pread64, this.#file, this.#text, this.#text.length, 0);
    if (length < 0) throw new KernelError(`read ${this.#name}`, -length);
    return Number(this.#text.toString('latin1', 0, length));
  }

  /** May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.#file);
  }
}
