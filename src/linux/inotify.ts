/** inotify(7): adding and removing watches, and finding what is watched. */
import { syscall, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

/** @returns the number of the watch. */
export function addWatch(inotify: number, path: Buffer, mask: number): number {
  return syscall('inotify_add_watch', SYS.inotify_add_watch, inotify, path, mask);
}

/** Leaves an IN_IGNORED event to read. */
export function removeWatch(inotify: number, watch: number): void {
  syscall(`inotify_rm_watch ${watch}`, SYS.inotify_rm_watch, inotify, watch);
}

export type FileHandle = { readonly type: number; readonly bytes: Buffer };

/**
 * Opens a file by its handle, open_by_handle_at(2). @param mount an open file of the file system; paths of the result are
 * those of this mount. @returns a descriptor, which the caller closes, or a negative errno.
 */
export function tryOpenByHandle(mount: number, { type, bytes }: FileHandle, flags: number): number {
  // struct file_handle: u32 length, s32 type, bytes
  const handle = Buffer.alloc(8 + bytes.length);
  handle.writeUInt32LE(bytes.length, 0);
  handle.writeInt32LE(type, 4);
  bytes.copy(handle, 8);
  return trySyscall(SYS.open_by_handle_at, mount, handle, flags);
}
