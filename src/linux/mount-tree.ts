/** Mounts without a place: open_tree(2), mount_setattr(2). Numbers from linux/mount.h. */
import { cString, syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

export const AT_FDCWD = -100;
export const OPEN_TREE_CLONE = 1;
export const AT_RECURSIVE = 0x8000;
export const MOVE_MOUNT_F_EMPTY_PATH = 4;
const OPEN_TREE_CLOEXEC = 0x80000;
const AT_EMPTY_PATH = 0x1000;
const MOUNT_ATTR = { RDONLY: 0x1, NOSUID: 0x2, NODEV: 0x4 } as const;
const MOUNT_ATTR_BYTES = 32;

/**
 * A copy of a directory's mount, read-only, without devices and set-user-ID programs, that is mounted nowhere.
 * @returns a descriptor, which the caller closes, or lets a process mount where it is (move_mount(2)).
 */
export function readOnlyCopyOf(directory: string): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  const fd = syscall(`open_tree ${directory}`, SYS.open_tree, AT_FDCWD, cString(directory), flags);
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV), 0);
  syscall(
    `mount_setattr ${directory}`,
    SYS.mount_setattr,
    fd,
    cString(''),
    AT_EMPTY_PATH,
    attributes,
    MOUNT_ATTR_BYTES,
  );
  return fd;
}
