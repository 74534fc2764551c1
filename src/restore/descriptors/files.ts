/** Files that travel with the image are put into the new sandbox from outside, before the process opens them. */
import { posix } from 'node:path';
import type { CarriedFileImage, DescriptorTableImage, FileImage, LockImage } from '../../image/descriptors/types.ts';
import { lockFile } from '../../linux/advisory-locks.ts';
import {
  fileStatus,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  seekTo,
  setOwnerAndMode,
  writeAll,
} from '../../linux/file-descriptors.ts';
import type { IdMaps } from '../../linux/id-map.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import type { RootDirectory } from '../../linux/root-directory.ts';
import { restoreError, type Subject } from './context.ts';
import { ownerOutside } from './owners.ts';

/** Where a carried file is to be opened: an unlinked one lies under another name until it is. */
export type PlacedFile = { readonly path: string; readonly temporary: boolean };

export function placeCarriedFile(root: RootDirectory, file: CarriedFileImage, index: number, ids: IdMaps): PlacedFile {
  const directory = posix.dirname(file.path);
  const path = file.unlinked ? posix.join(directory, `.comicran-unlinked-${index}`) : file.path;
  root.makeParents(path);
  const written = root.open(path, O.WRONLY | O.CREAT | O.TRUNC, 0o600);
  try {
    writeAll(written, file.contents);
    setOwner(written, file, ids);
  } finally {
    closeDescriptor(written);
  }
  return { path, temporary: file.unlinked };
}

/** What nobody has open: parents come before what lies in them. */
export function placeWritten(root: RootDirectory, file: CarriedFileImage, index: number, ids: IdMaps): void {
  switch (file.mode & S_IFMT) {
    case S_IFDIR: {
      root.makeParents(posix.join(file.path, 'any'));
      const directory = root.open(file.path, O.RDONLY | O.DIRECTORY);
      try {
        setOwner(directory, file, ids);
      } finally {
        closeDescriptor(directory);
      }
      break;
    }
    case S_IFLNK:
      root.makeSymlink(file.path, file.contents, ownerOutside(ids, file.uid, file.gid));
      break;
    case S_IFIFO: {
      root.makeFifo(file.path);
      // Opened for both, so that nobody has to be at the other end.
      const fifo = root.open(file.path, O.RDWR | O.NONBLOCK);
      try {
        setOwner(fifo, file, ids);
      } finally {
        closeDescriptor(fifo);
      }
      break;
    }
    default:
      placeCarriedFile(root, file, index, ids);
  }
}

function setOwner(descriptor: number, file: CarriedFileImage, ids: IdMaps): void {
  const { uid, gid } = ownerOutside(ids, file.uid, file.gid);
  setOwnerAndMode(descriptor, uid, gid, file.mode & ~S_IFMT);
}

/** Flags for open(2): what makes a file or cuts it has had its effect at the source. */
export function openFlags(flags: number): number {
  return flags & ~(O.CREAT | O.EXCL | O.TRUNC | O.CLOEXEC);
}

/**
 * Files that were opened as ones without a name (O_TMPFILE): by the index of the file the description that did. They are
 * made as such again, since they may get a name yet.
 */
export function namelessFiles({ descriptions }: DescriptorTableImage): Map<number, number> {
  const makers = descriptions.flatMap((image, index): [number, number][] =>
    image.kind === 'file' && image.carried !== null && (image.flags & O.TMPFILE) === O.TMPFILE
      ? [[image.carried, index]]
      : [],
  );
  // Of several, the first.
  return new Map(makers.toReversed());
}

/** @param copy of a descriptor of a file without a name, in this process. */
export function fillNamelessFile(copy: number, file: CarriedFileImage, ids: IdMaps): void {
  writeAll(copy, file.contents);
  setOwner(copy, file, ids);
  seekTo(copy, 0n);
}

/**
 * Brings a file that the process has opened to the state of the image.
 *
 * @param copy of the descriptor, in this process: position, locks of its own and flags belong to the description.
 */
export function configureFile(subject: Subject, image: FileImage, copy: number): void {
  const status = fileStatus(copy);
  const type = status.mode & S_IFMT;
  if (type !== (image.fileType === 'directory' ? S_IFDIR : S_IFREG)) {
    throw restoreError(subject, `${image.path} is not a ${image.fileType} file here`);
  }
  if (image.fileType === 'regular' && status.size !== image.size) {
    throw restoreError(subject, `${image.path} has ${status.size} bytes here and ${image.size} at the source`);
  }
  if (image.position !== 0n) seekTo(copy, image.position);
  for (const lock of image.locks) if (!isOfProcess(lock)) lockFile(copy, lock);
}

/** Locks that belong to the process, and not to the open file description, are taken by the process itself. */
export const isOfProcess = (lock: LockImage): boolean => lock.type === 'posix';
