import type { InotifyImage, InotifyWatchImage } from '../../image/descriptors/types.ts';
import { readableBytes, readOnce } from '../../linux/file-descriptors.ts';
import { addWatch, removeWatch } from '../../linux/inotify.ts';
import { cString } from '../../linux/libc.ts';
import { O } from '../../linux/open-flags.ts';
import { closeDescriptor } from '../../linux/pidfd.ts';
import type { RootDirectory } from '../../linux/root-directory.ts';
import { restoreError, type Subject, step } from './context.ts';

const EVENT_BYTES = 1 << 16;

/** @param copy gets a copy of the new descriptor, which watches nothing yet. */
export function configureInotify(
  subject: Subject,
  { watches }: InotifyImage,
  copy: () => number,
  root: RootDirectory,
): void {
  if (watches.length === 0) return;
  const inotify = copy();
  for (const watch of watches) {
    step(subject, `watch ${watch.path}`, () => addAs(subject, inotify, watch, root));
  }
  // Every watch that was taken away again has left an event.
  const events = Buffer.alloc(EVENT_BYTES);
  while (readableBytes(inotify) > 0) readOnce(inotify, events);
}

/** Adds a watch until it gets its number: the kernel gives them out in order, beginning with 1. */
function addAs(subject: Subject, inotify: number, { watch, path, mask }: InotifyWatchImage, root: RootDirectory): void {
  const file = root.open(path, O.PATH | O.NOFOLLOW);
  try {
    const own = cString(`/proc/thread-self/fd/${file}`);
    for (;;) {
      const given = addWatch(inotify, own, mask);
      if (given === watch) return;
      if (given > watch) throw restoreError(subject, `watch ${path} as number ${watch}: it became ${given}`);
      removeWatch(inotify, given);
    }
  } finally {
    closeDescriptor(file);
  }
}
