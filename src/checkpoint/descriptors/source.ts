import { DescriptorDirectory } from '../../linux/descriptor-directory.ts';
import { EBADF, ENOENT, KernelError } from '../../linux/errno.ts';
import type { DescriptorInfo } from '../../linux/fdinfo.ts';
import { type IdMaps, readIdMaps } from '../../linux/id-map.ts';
import { closeDescriptor, duplicateFrom } from '../../linux/pidfd.ts';

/** A pipe whose other end is not in the process but belongs to the one who started it. */
export type InheritedPipe = {
  /** By which the image calls it: `stdout`. */
  readonly name: string;
  /** Inode number of the pipe, the same at both ends. */
  readonly inode: number | bigint;
};

export type CaptureContext = {
  /** As this program sees it. */
  readonly pid: number;
  /** A descriptor of the process, see pidfd_open(2). */
  readonly pidfd: number;
  /** Every thread of the process, itself included. */
  readonly threads: readonly number[];
  readonly inherited: readonly InheritedPipe[];
  /** Where the sandbox has file systems of its own in memory: all that is in them travels. Absent: only what is open. */
  readonly written?: readonly string[];
  /** Of its user namespace. Absent: to be read. */
  readonly ids?: IdMaps;
  /**
   * The process runs, and this is only a look: contents are left out, and a descriptor that is closed meanwhile is as if
   * it had not been there.
   */
  readonly running?: boolean;
};

/** An open file description as it was found: its descriptors, and what /proc says of it. */
export type Found = {
  /** Ascending. */
  readonly descriptors: readonly { readonly number: number; readonly closeOnExec: boolean }[];
  /** The first of them. */
  readonly number: number;
  /** What the link in /proc/PID/fd says. */
  readonly link: string;
  /** The text of fdinfo. */
  readonly text: string;
  readonly info: DescriptorInfo;
  /** Status flags, without O_CLOEXEC. */
  readonly flags: number;
};

/** Thrown for a descriptor that cannot be moved. Caught and collected in the same folder: it never leaves it. */
export class Refusal extends Error {
  /** null: it is the process that has something, not one descriptor. */
  readonly number: number | null;

  /** @param what it is and, where it is not plain, why it cannot be moved: `the terminal /dev/pts/3`. */
  constructor(number: number | null, what: string) {
    super(number === null ? what : `descriptor ${number} is ${what}`);
    this.number = number;
  }
}

/** The error of a descriptor that has been closed since it was listed, in a process that runs. */
export function isGone({ running }: CaptureContext, error: unknown): boolean {
  return running === true && error instanceof KernelError && (error.errno === ENOENT || error.errno === EBADF);
}

/** The process whose descriptors are captured. Copies that were taken of them are closed with it. */
export class DescriptorSource {
  readonly context: CaptureContext;
  readonly directory: DescriptorDirectory;
  readonly #copies: Map<number, number>;

  /** @param from has the same process open; what it has is used, and stays its. */
  constructor(context: CaptureContext, from?: DescriptorSource) {
    this.context = context;
    this.directory = from?.directory ?? new DescriptorDirectory(context.pid);
    this.#copies = from === undefined ? new Map() : from.#copies;
  }

  get pid(): number {
    return this.context.pid;
  }

  /** A copy of a descriptor, in this process: the same open file description. Closed by {@link close}, not by the caller. */
  copy(number: number): number {
    const known = this.#copies.get(number);
    if (known !== undefined) return known;
    const copy = duplicateFrom(this.context.pidfd, number);
    this.#copies.set(number, copy);
    return copy;
  }

  get ids(): IdMaps {
    return this.context.ids ?? readIdMaps(this.pid);
  }

  /** The text of fdinfo, read again where its fields may have moved on. */
  text(number: number): string {
    return this.directory.info(number);
  }

  close(): void {
    for (const copy of this.#copies.values()) closeDescriptor(copy);
    this.#copies.clear();
    this.directory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
