import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { DescriptionImage, DescriptorTableImage } from '../../src/image/descriptors/types.ts';
import { POLL, pollNow, readableBytes, readOnce } from '../../src/linux/file-descriptors.ts';
import { closeDescriptor, getDescriptor } from '../../src/linux/pidfd.ts';
import { AF_UNIX, socketType } from '../../src/linux/sockets.ts';

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_DIRECTORY = 0o200000;
const O_PATH = 0o10000000;

/**
 * What can be read from the pipes and files of a process, by descriptor number, one string a read. Pipes are empty
 * afterwards.
 */
export function drainContents(pid: number): Record<number, readonly string[]> {
  const contents: Record<number, readonly string[]> = {};
  for (const number of readdirSync(`/proc/${pid}/fd`).map(Number)) {
    const link = readlinkSync(`/proc/${pid}/fd/${number}`);
    const info = readFileSync(`/proc/${pid}/fdinfo/${number}`, 'latin1');
    const flags = Number.parseInt(/flags:\s+(\d+)/.exec(info)![1]!, 8);
    if ((flags & (O_PATH | O_DIRECTORY)) !== 0) continue;
    if (link.startsWith('pipe:') || link.includes('fifo')) {
      if ((flags & O_ACCMODE) !== O_WRONLY) contents[number] = drainPipe(pid, number);
    } else if (link.startsWith('socket:')) {
      contents[number] = drainSocket(pid, number);
    } else if (link.startsWith('/tmp/') || link.startsWith('/dev/shm/')) {
      contents[number] = [readFileSync(`/proc/${pid}/fd/${number}`, 'hex')];
    }
  }
  return contents;
}

function drainPipe(pid: number, number: number): string[] {
  const copy = getDescriptor(pid, number);
  try {
    const reads: string[] = [];
    while (readableBytes(copy) > 0) {
      const bytes = Buffer.alloc(4 << 20);
      reads.push(bytes.toString('hex', 0, readOnce(copy, bytes) ?? 0));
    }
    return reads;
  } finally {
    closeDescriptor(copy);
  }
}

/** Of unix sockets. One that reads nothing at its end gives an empty string there. */
function drainSocket(pid: number, number: number): string[] {
  const copy = getDescriptor(pid, number);
  try {
    const reads: string[] = [];
    if (socketType(copy).domain !== AF_UNIX) return reads;
    while ((pollNow(copy, POLL.IN) & POLL.IN) !== 0 && reads.at(-1) !== '') {
      const bytes = Buffer.alloc(4 << 20);
      reads.push(bytes.toString('hex', 0, readOnce(copy, bytes) ?? 0));
    }
    return reads;
  } finally {
    closeDescriptor(copy);
  }
}

/** A table without what is different in any two captures: times that run on, the order of a set, temporary names. */
export function comparable(table: DescriptorTableImage): unknown {
  const plain = (image: DescriptionImage): DescriptionImage => {
    if (image.kind === 'timerfd') return { ...image, remaining: image.remaining > 0n ? 1n : 0n, expiry: 0n };
    if (image.kind === 'epoll') {
      const order = image.items.toSorted((a, b) => a.number - b.number || a.target - b.target);
      return { ...image, items: order };
    }
    if (image.kind === 'udp-socket') {
      const order = image.memberships.toSorted((a, b) => Buffer.compare(a.group, b.group));
      return { ...image, memberships: order };
    }
    const unlinked = image.kind === 'file' && image.carried !== null && table.carriedFiles[image.carried]?.unlinked;
    return unlinked ? { ...image, path: '' } : image;
  };
  return {
    ...table,
    descriptions: table.descriptions.map(plain),
    carriedFiles: table.carriedFiles.map((file) => (file.unlinked ? { ...file, path: '' } : file)),
  };
}
