import { readlinkSync } from 'node:fs';
import { MAX_CARRIED_BYTES } from '../../image/descriptors/limits.ts';
import type { CarriedFileImage, DeviceImage, FileImage, LockImage } from '../../image/descriptors/types.ts';
import { parseLocks } from '../../linux/fdinfo.ts';
import {
  type FileStatus,
  fileSystemOf,
  RAMFS_MAGIC,
  readOnce,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  statAt,
  TMPFS_MAGIC,
} from '../../linux/file-descriptors.ts';
import { insideId } from '../../linux/id-map.ts';
import { cString } from '../../linux/libc.ts';
import { type MountInfo, readMounts } from '../../linux/mountinfo.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';
import { readWritten } from './written.ts';

const DELETED = ' (deleted)';

/** Character devices without a state, by major and minor number (admin-guide/devices.txt of the kernel). */
const PLAIN_DEVICES: readonly string[] = ['1:3', '1:5', '1:7', '1:8', '1:9'];
/** Majors of terminals: /dev/tty, virtual consoles, serial lines, pseudo-terminals. */
const TERMINAL_MAJORS: readonly number[] = [4, 5, 136, 137, 138, 139, 140, 141, 142, 143];

const LOCK_TYPES: Readonly<Record<string, LockImage['type']>> = { FLOCK: 'flock', POSIX: 'posix', OFDLCK: 'ofd' };

/** Captures what is open by a path: files, directories and device nodes. */
export class FileCapture {
  readonly carriedFiles: CarriedFileImage[] = [];
  readonly #source: DescriptorSource;
  readonly #carriedByInode = new Map<string, number>();
  #mounts: readonly MountInfo[] | null = null;
  #root: string | null = null;

  constructor(source: DescriptorSource) {
    this.#source = source;
  }

  capture(found: Found, status: FileStatus): FileImage | DeviceImage {
    const { number, link } = found;
    if (link.includes('\ufffd')) throw new Refusal(number, `a file whose name is not UTF-8 (${link})`);
    if ((found.flags & O.ASYNC) !== 0) throw new Refusal(number, `${link}, open with O_ASYNC`);
    switch (status.mode & S_IFMT) {
      case S_IFCHR:
        return this.#device(found, status);
      case S_IFBLK:
        throw new Refusal(number, `the block device ${link} (${status.major}:${status.minor})`);
      case S_IFDIR:
        return this.#directory(found, status);
      case S_IFREG:
        return this.#regular(found, status);
      default:
        throw new Refusal(number, `${link}, a file of an unknown type (mode ${status.mode.toString(8)})`);
    }
  }

  /** The path of a FIFO inside the sandbox. */
  fifoPath(found: Found, status: FileStatus): string {
    return this.#namedPath(found, status) ?? refuse(found.number, `the FIFO ${found.link}, which has been removed`);
  }

  /** Where the file systems of a device are mounted in the sandbox. */
  mountPoints(major: number, minor: number): string[] {
    this.#mounts ??= readMounts(this.#source.pid);
    return this.#mounts.filter(({ device }) => device === `${major}:${minor}`).map(({ mountPoint }) => mountPoint);
  }

  /** Whether a path inside the sandbox leads to the file of this number. */
  isAt(path: string, inode: bigint): boolean {
    return statAt(null, cString(`/proc/${this.#source.pid}/root${path}`), false)?.inode === inode;
  }

  /** What nobody has open and no other machine has. @throws Refusal */
  carryWritten(): void {
    readWritten(
      this.#source,
      ({ device, inode }) => this.#carriedByInode.has(`${device}:${inode}`),
      (file) => this.carriedFiles.push(file),
    );
  }

  #device(found: Found, { major, minor }: FileStatus): DeviceImage {
    const { number, link, flags } = found;
    if (PLAIN_DEVICES.includes(`${major}:${minor}`)) {
      return { kind: 'device', flags, path: this.pathInSandbox(link), major, minor };
    }
    if (TERMINAL_MAJORS.includes(major)) throw new Refusal(number, `the terminal ${link}`);
    throw new Refusal(number, `the device ${link} (${major}:${minor})`);
  }

  #directory(found: Found, status: FileStatus): FileImage {
    const { number, link, info } = found;
    const path = this.#namedPath(found, status) ?? refuse(number, `the directory ${link}, which has been removed`);
    // A position in a directory is a cookie of the file system that made it.
    if (info.position !== 0n) throw new Refusal(number, `the directory ${path}, half read (position ${info.position})`);
    return this.#image(found, path, 'directory', 0n, null);
  }

  #regular(found: Found, status: FileStatus): FileImage {
    const { number, link } = found;
    if (link.startsWith('/memfd:')) throw new Refusal(number, `the memory file ${link} (memfd_create)`);
    const path = this.#namedPath(found, status);
    const unlinked = path === null;
    const shown = path ?? this.pathInSandbox(link.slice(0, -DELETED.length));
    const carried = unlinked || isInMemory(this.#source, number) ? this.#carry(found, status, shown, unlinked) : null;
    return this.#image(found, shown, 'regular', status.size, carried);
  }

  #image(found: Found, path: string, fileType: FileImage['fileType'], size: bigint, carried: number | null): FileImage {
    const { flags, info } = found;
    return { kind: 'file', flags, path, fileType, position: info.position, size, carried, locks: locksOf(found) };
  }

  /** The path inside the sandbox that leads to the file; null: it has been unlinked. */
  #namedPath(found: Found, status: FileStatus): string | null {
    const { number, link } = found;
    if (status.links === 0n && link.endsWith(DELETED)) return null;
    const path = this.pathInSandbox(link);
    const there = statAt(null, cString(`/proc/${this.#source.pid}/root${path}`), false);
    if (there === null || there.inode !== status.inode || there.device !== status.device) {
      throw new Refusal(number, `the file ${path}, which is not to be found at that path in the sandbox`);
    }
    return path;
  }

  /** A link says the path from the root of the mount namespace; the process may have its root further down. */
  pathInSandbox(link: string): string {
    this.#root ??= readlinkSync(`/proc/${this.#source.pid}/root`);
    if (this.#root === '/') return link;
    return link.startsWith(`${this.#root}/`) ? link.slice(this.#root.length) : link;
  }

  #carry(found: Found, status: FileStatus, path: string, unlinked: boolean): number {
    const inode = `${status.device}:${status.inode}`;
    const known = this.#carriedByInode.get(inode);
    if (known !== undefined) return known;
    if (status.size > MAX_CARRIED_BYTES) {
      const state = unlinked ? 'unlinked' : 'on a file system in memory';
      throw new Refusal(found.number, `the file ${path}, ${state} and too large to carry (${status.size} bytes)`);
    }
    const contents = this.#source.context.running ? Buffer.alloc(0) : this.#read(found.number, status.size);
    const { users, groups } = this.#source.ids;
    const [uid, gid] = [insideId(users, status.uid), insideId(groups, status.gid)];
    const index = this.carriedFiles.push({ path, unlinked, mode: status.mode & 0o7777, uid, gid, contents }) - 1;
    this.#carriedByInode.set(inode, index);
    return index;
  }

  /** The contents, through a description of our own: the position of the process's stays. */
  #read(number: number, size: bigint): Buffer {
    const contents = Buffer.allocUnsafeSlow(Number(size));
    const file = this.#source.directory.reopen(number, O.RDONLY);
    try {
      let length = 0;
      while (length < contents.length) {
        const count = readOnce(file, contents.subarray(length)) ?? 0;
        if (count === 0) break;
        length += count;
      }
      return contents.subarray(0, length);
    } finally {
      closeDescriptor(file);
    }
  }
}

/** Whether a file is on a writable file system in memory: one of the sandbox's own, which no other machine has. */
function isInMemory({ pid }: DescriptorSource, number: number): boolean {
  const { type, readOnly } = fileSystemOf(cString(`/proc/${pid}/fd/${number}`));
  return !readOnly && (type === TMPFS_MAGIC || type === RAMFS_MAGIC);
}

function locksOf({ number, link, text }: Found): LockImage[] {
  if (!text.includes('\nlock:')) return [];
  return parseLocks(text).map(({ type, exclusive, start, end }) => {
    const known = LOCK_TYPES[type] ?? refuse(number, `the file ${link} with a lock of type ${type}`);
    return { type: known, exclusive, start, end };
  });
}

function refuse(number: number, what: string): never {
  throw new Refusal(number, what);
}
