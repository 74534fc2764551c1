import { readlinkSync } from 'node:fs';
import type { InotifyImage, InotifyWatchImage } from '../../image/descriptors/types.ts';
import { type InotifyWatchInfo, parseInotifyWatches } from '../../linux/fdinfo.ts';
import { readableBytes } from '../../linux/file-descriptors.ts';
import { tryOpenByHandle } from '../../linux/inotify.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import { RootDirectory } from '../../linux/root-directory.ts';
import type { FileCapture } from './files.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

const NAME = 'an inotify descriptor';
/** Watch numbers only ever count up; at the destination they are counted up to again. */
const MAX_WATCH = 1 << 16;

/** Captures what an inotify descriptor watches. The kernel knows files, not paths: those are found by their handles. */
export function captureInotify(source: DescriptorSource, found: Found, files: FileCapture): InotifyImage {
  const { number, flags, text } = found;
  if (readableBytes(source.copy(number)) > 0) throw new Refusal(number, `${NAME} with unread events`);
  using root = new RootDirectory(source.pid);
  const watches = parseInotifyWatches(text).map((watch): InotifyWatchImage => {
    if (watch.watch > MAX_WATCH) throw new Refusal(number, `${NAME} with a watch of number ${watch.watch}`);
    const path = pathOf(watch, files, root);
    if (path === null) {
      throw new Refusal(number, `${NAME} that watches inode ${watch.inode}, whose path cannot be found`);
    }
    return { watch: watch.watch, path, mask: watch.mask };
  });
  return { kind: 'inotify', flags, watches: watches.toSorted((a, b) => a.watch - b.watch) };
}

function pathOf({ handle, device, inode }: InotifyWatchInfo, files: FileCapture, root: RootDirectory): string | null {
  if (handle === null) return null;
  for (const mountPoint of files.mountPoints(device >>> 20, device & 0xfffff)) {
    const mount = root.openIfThere(mountPoint, O.RDONLY);
    if (mount === null) continue;
    const file = tryOpenByHandle(mount, handle, O.PATH | O.NOFOLLOW | O.CLOEXEC);
    closeDescriptor(mount);
    if (file < 0) continue;
    const path = files.pathInSandbox(readlinkSync(`/proc/thread-self/fd/${file}`));
    closeDescriptor(file);
    // A file that has no name any more, or none below this mount, has a link that leads nowhere or elsewhere.
    if (files.isAt(path, inode)) return path;
  }
  return null;
}
