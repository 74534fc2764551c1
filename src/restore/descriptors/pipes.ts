import type { DescriptionImage, PipeEndImage, PipeImage } from '../../image/descriptors/types.ts';
import {
  getPipeCapacity,
  getStatusFlags,
  setPipeCapacity,
  setStatusFlags,
  writeAll,
} from '../../linux/file-descriptors.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import type { RootDirectory } from '../../linux/root-directory.ts';

type PipeEnd = { readonly index: number; readonly image: PipeEndImage };

/** The descriptions of a pipe, those that can read first. */
export function endsOf(descriptions: readonly DescriptionImage[], pipe: number): PipeEnd[] {
  return descriptions
    .flatMap((image, index) => (image.kind === 'pipe' && image.pipe === pipe ? [{ index, image }] : []))
    .sort((a, b) => Number(onlyWrites(a)) - Number(onlyWrites(b)));
}

const onlyWrites = ({ image }: PipeEnd): boolean => (image.flags & O.ACCMODE) === O.WRONLY;

/** Whether a pipe keeps packets apart. */
export function inPackets(ends: readonly PipeEnd[]): boolean {
  return ends.some(({ image }) => (image.flags & O.DIRECT) !== 0);
}

/**
 * Gives a new, empty pipe its size and what was in it.
 *
 * @param writeEnd a descriptor of this process. It is not blocking, and in packet mode where the pipe is.
 */
export function fillPipe({ capacity, chunks }: PipeImage, writeEnd: number): void {
  if (getPipeCapacity(writeEnd) !== capacity) setPipeCapacity(writeEnd, capacity);
  for (const chunk of chunks) writeAll(writeEnd, chunk);
}

/**
 * Makes a FIFO where there is none. One that the process can only write to has to be read by somebody while it opens it:
 * @returns a descriptor of this process for that time, or null.
 */
export function prepareFifo(root: RootDirectory, path: string, ends: readonly PipeEnd[]): number | null {
  root.makeParents(path);
  root.makeFifo(path);
  return ends.every(onlyWrites) ? root.open(path, O.RDONLY | O.NONBLOCK) : null;
}

/** As {@link fillPipe}, for a FIFO that the process has opened. Its readers see the last writer go where it had gone. */
export function fillFifo(root: RootDirectory, pipe: PipeImage, path: string, ends: readonly PipeEnd[]): void {
  const packets = inPackets(ends) ? O.DIRECT : 0;
  if (ends.every(onlyWrites)) return;
  if (pipe.chunks.length === 0 && !pipe.hungUp) return;
  const writeEnd = root.open(path, O.WRONLY | O.NONBLOCK | packets);
  try {
    fillPipe(pipe, writeEnd);
  } finally {
    closeDescriptor(writeEnd);
  }
}

/** Sets the status flags of a description that was made with others. */
export function settleFlags(copy: number, flags: number): void {
  if (getStatusFlags(copy) !== flags) setStatusFlags(copy, flags);
}
