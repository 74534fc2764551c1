/** mount(2), umount2(2), pivot_root(2). Numbers from linux/mount.h and linux/fs.h. */
import { cString, syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** Flags of mount(2). SHARED, SLAVE and PRIVATE change the propagation of what is mounted already. */
export const MS = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  REMOUNT: 0x20,
  NOATIME: 0x400,
  BIND: 0x1000,
  REC: 0x4000,
  PRIVATE: 0x40000,
  SLAVE: 0x80000,
  SHARED: 0x100000,
} as const;

const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

export type Mount = {
  /** What is mounted: a path for a bind mount, a name that /proc/mounts shows for others. */
  readonly source: string;
  readonly target: string;
  /** `proc`, `tmpfs`…; absent for bind mounts and changes of propagation. */
  readonly type?: string;
  readonly flags?: number;
  /** The file system's own options: `size=16m,mode=755`. */
  readonly data?: string;
};

/** In the mount namespace of the calling thread. @throws KernelError `mount TARGET`. */
export function mount(spec: Mount): void {
  syscall(
    `mount ${spec.target}`,
    SYS.mount,
    cString(spec.source),
    cString(spec.target),
    cString(spec.type ?? ''),
    spec.flags ?? 0,
    spec.data === undefined ? null : cString(spec.data),
  );
}

/** Never follows a symbolic link at the end of `target`. `detach`: at once out of sight, gone when nobody uses it. */
export function unmount(target: string, options: { readonly detach?: boolean } = {}): void {
  const flags = UMOUNT_NOFOLLOW | (options.detach === true ? MNT_DETACH : 0);
  syscall(`umount ${target}`, SYS.umount2, cString(target), flags);
}

/** Makes `newRoot` (a mount point) the root of the calling thread's mount namespace, and hangs the old one at `putOld`. */
export function pivotRoot(newRoot: string, putOld: string): void {
  syscall(`pivot_root ${newRoot}`, SYS.pivot_root, cString(newRoot), cString(putOld));
}
