/**
 * Archives of the form `newc` (cpio(5)), which the kernel unpacks into its first root file system
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Several may stand behind one another in one file: what a
 * later one brings is laid over what an earlier one has brought.
 */

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';
const ALIGNMENT = 4;
/** Fields are eight hexadecimal digits. */
const MAX_BYTES = 0xffff_ffff;

const TYPE = { directory: 0o040000, file: 0o100000, symlink: 0o120000 } as const;

export type CpioItem = {
  readonly kind: keyof typeof TYPE;
  /** Absolute. */
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  /** Bytes of a file's contents, or of a link's target, which follow the header. */
  readonly size: number;
};

const hex = (value: number): string => value.toString(16).padStart(8, '0');

/** Zero bytes that bring `length` to where the next part may begin. */
export function cpioPadding(length: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);
}

function header(name: string, fields: { inode: number; mode: number; links: number; size: number }): Uint8Array {
  if (fields.size > MAX_BYTES) throw new RangeError(`${name}: ${fields.size} bytes are too many for a cpio archive`);
  const bytes = Buffer.from(`${name}\0`);
  const numbers = [
    ...[fields.inode, fields.mode],
    ...[0, 0], // user and group
    ...[fields.links, 0 /* time of change */, fields.size],
    ...[0, 0, 0, 0], // numbers of devices
    ...[bytes.length, 0 /* no checksum in this form */],
  ];
  const start = Buffer.concat([Buffer.from(MAGIC + numbers.map(hex).join(''), 'latin1'), bytes]);
  return Buffer.concat([start, cpioPadding(start.length)]);
}

/** What stands before the contents; behind them stands {@link cpioPadding} of their size. @param inode from 1, no two alike. */
export function cpioHeader({ kind, path, mode, size }: CpioItem, inode: number): Uint8Array {
  const links = kind === 'directory' ? 2 : 1;
  return header(path.slice(1), { inode, mode: TYPE[kind] | mode, links, size });
}

export function cpioTrailer(): Uint8Array {
  return header(TRAILER, { inode: 0, mode: 0, links: 1, size: 0 });
}
