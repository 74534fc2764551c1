/** Id-mapped mounts, mount_setattr(2), Linux 5.12: a view of a directory in which its files have other owners. */
import { cString, syscall } from './libc.ts';
import { MS } from './mount.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
/** linux/mount.h */
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_IDMAP = 0x00100000;
/** struct mount_attr: what is set, what is cleared, propagation, a user namespace; 64 bits each. */
const MOUNT_ATTR_BYTES = 32;

/**
 * A private mount of a directory, at no place yet. What is mounted below the directory is not in it.
 *
 * It is to be made in the mount namespace that the directory is in: copied into the namespace of others, a mount has flags that
 * cannot be taken from it.
 *
 * @returns a descriptor; the mount goes with it where it has not been put anywhere.
 */
export function openPrivateTree(directory: string): number {
  const flags = OPEN_TREE_CLONE | O.CLOEXEC;
  const tree = syscall(`open the tree ${directory}`, SYS.open_tree, AT_FDCWD, cString(directory), flags);
  try {
    setAttributes(`make a private mount of ${directory}`, tree, { propagation: MS.PRIVATE });
    return tree;
  } catch (thrown) {
    closeDescriptor(tree);
    throw thrown;
  }
}

/**
 * Gives the files of a tree other owners: one whose owner is an id inside the user namespace of a process belongs, seen through
 * the tree, to the id outside that the namespace has for it. Root's files so are those of root inside.
 *
 * @throws KernelError EINVAL: the file system cannot.
 */
export function mapTree(tree: number, pid: number): void {
  const path = `/proc/${pid}/ns/user`;
  const namespace = syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), O.RDONLY | O.CLOEXEC);
  try {
    setAttributes('give files other owners', tree, { set: MOUNT_ATTR_IDMAP, namespace });
  } finally {
    closeDescriptor(namespace);
  }
}

function setAttributes(
  what: string,
  tree: number,
  { set = 0, propagation = 0, namespace = 0 }: { set?: number; propagation?: number; namespace?: number },
): void {
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeBigUInt64LE(BigInt(set), 0);
  attributes.writeBigUInt64LE(BigInt(propagation), 16);
  attributes.writeBigUInt64LE(BigInt(namespace), 24);
  syscall(what, SYS.mount_setattr, tree, cString(''), AT_EMPTY_PATH, attributes, attributes.length);
}

/** Puts a tree on a directory, in the mount namespace of the calling thread. The descriptor stays the caller's. */
export function placeTree(tree: number, target: string): void {
  const [from, to] = [cString(''), cString(target)];
  syscall(`mount ${target}`, SYS.move_mount, tree, from, AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
}
