/**
 * What a process has written to the file systems in memory that are its sandbox's own: no other machine has it, so all of it
 * travels with the image, read in the stop, as it is at that moment.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { MAX_CARRIED_BYTES, MAX_WRITTEN_BYTES } from '../../image/descriptors/limits.ts';
import type { CarriedFileImage } from '../../image/descriptors/types.ts';
import { deviceText } from '../../linux/device-number.ts';
import {
  type FileStatus,
  fileSystemOf,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  statAt,
  TMPFS_MAGIC,
} from '../../linux/file-descriptors.ts';
import { insideId } from '../../linux/id-map.ts';
import { cString } from '../../linux/libc.ts';
import { readMounts } from '../../linux/mountinfo.ts';
import { type DescriptorSource, Refusal } from './source.ts';

const PERMISSIONS = 0o7777;

/** @param known whether the file of this inode is carried already, because it is open. @throws Refusal */
export function readWritten(
  source: DescriptorSource,
  known: (status: FileStatus) => boolean,
  add: (file: CarriedFileImage) => void,
): void {
  const outside = (path: string): string => `/proc/${source.pid}/root${path}`;
  let bytes = 0;

  const walk = (directory: string, device: bigint): void => {
    for (const name of readdirSync(outside(directory)).toSorted()) {
      const path = posix.join(directory, name);
      if (name.includes('\ufffd')) throw new Refusal(null, `the file ${path}, whose name is not UTF-8`);
      const status = statAt(null, cString(outside(path)), false);
      // What is mounted there is another file system, and is asked for by itself. Nothing vanishes in a stop.
      if (status === null || status.device !== device) continue;
      if (known(status)) continue;
      const isDirectory = (status.mode & S_IFMT) === S_IFDIR;
      add(image(path, status));
      if (isDirectory) walk(path, device);
    }
  };

  const image = (path: string, status: FileStatus): CarriedFileImage => {
    const type = status.mode & S_IFMT;
    const { users, groups } = source.ids;
    return {
      ...{ path, unlinked: false, contents: contentsOf(path, status) },
      mode: (type === S_IFREG ? 0 : type) | (status.mode & PERMISSIONS),
      ...{ uid: insideId(users, status.uid), gid: insideId(groups, status.gid) },
    };
  };

  const contentsOf = (path: string, status: FileStatus): Uint8Array => {
    switch (status.mode & S_IFMT) {
      case S_IFDIR:
      case S_IFIFO:
        return Buffer.alloc(0);
      case S_IFLNK:
        return readlinkSync(outside(path), { encoding: 'buffer' });
      case S_IFREG:
        break;
      default:
        throw new Refusal(null, `the file ${path}, a socket or device`);
    }
    if (status.links > 1n) throw new Refusal(null, `the file ${path}, which has another name (hard link)`);
    if (status.size > MAX_CARRIED_BYTES) {
      throw new Refusal(
        null,
        `the file ${path}, on a file system in memory and too large to carry (${status.size} bytes)`,
      );
    }
    bytes += Number(status.size);
    if (bytes > MAX_WRITTEN_BYTES) {
      throw new Refusal(null, `more than ${MAX_WRITTEN_BYTES} bytes of files in memory, up to ${path}`);
    }
    return source.context.running === true ? Buffer.alloc(0) : readFileSync(outside(path));
  };

  const written = source.context.written ?? [];
  const within = new Set(written.filter((path) => written.some((above) => path.startsWith(`${above}/`))));
  const mounts = within.size === 0 ? [] : readMounts(source.pid);
  for (const path of written) {
    const root = statAt(null, cString(outside(path)));
    if (within.has(path)) {
      // On the way to it the process can put a link in place of a directory, and that would lead into the machine's own files.
      const mounted = mounts.findLast(({ mountPoint }) => mountPoint === path)?.device;
      if (root === null || mounted !== deviceText(Number(root.device)))
        throw new Refusal(null, `the file system at ${path}, which is not there any more`);
    }
    if (root === null) continue;
    const { type, readOnly } = fileSystemOf(cString(outside(path)));
    if (type !== TMPFS_MAGIC || readOnly) continue;
    try {
      walk(path, root.device);
    } catch (thrown) {
      // Of a process that runs, something has been removed meanwhile; it is only looked at.
      const gone = ['ENOENT', 'ENOTDIR'].includes((thrown as NodeJS.ErrnoException).code ?? '');
      if (source.context.running !== true || !gone) throw thrown;
    }
  }
}
