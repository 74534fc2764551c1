import { unreachable } from '../../base/assert.ts';
import type { DescriptionImage, DescriptorTableImage } from './types.ts';

/** Of a mode, from sys/stat.h: which bits are the type, and the types that a carried file has; a regular one has none. */
const S_IFMT = 0o170000;
const [S_IFIFO, S_IFDIR, S_IFLNK] = [0o010000, 0o040000, 0o120000];
const CARRIED_TYPES: readonly number[] = [0, S_IFDIR, S_IFLNK, S_IFIFO];

const O_ACCMODE = 3;

/** The first rule of types.ts that a table breaks, as a phrase; null when it holds. */
export function checkTable(table: DescriptorTableImage): string | null {
  const used = new Set<number>();
  let last = -1;
  for (const { number, description } of table.descriptors) {
    if (number <= last) return `descriptor ${number} behind descriptor ${last}`;
    last = number;
    if (description >= table.descriptions.length) return `descriptor ${number} refers to description ${description}`;
    used.add(description);
  }
  if (used.size !== table.descriptions.length) return 'an open file description without a descriptor';
  for (const [index, description] of table.descriptions.entries()) {
    const problem = checkDescription(table, index, description);
    if (problem !== null) return `${description.kind} ${index}: ${problem}`;
  }
  for (const file of table.carriedFiles) {
    if (!isAbsolute(file.path)) return `carried file ${file.path}`;
    if (!CARRIED_TYPES.includes(file.mode & S_IFMT)) return `carried file of mode ${file.mode}`;
    if (file.unlinked && (file.mode & S_IFMT) !== 0)
      return `carried file ${file.path}, unlinked and of mode ${file.mode}`;
  }
  for (const pipe of table.pipes) {
    if (pipe.path !== null && !isAbsolute(pipe.path)) return `FIFO ${pipe.path}`;
    const length = pipe.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (length > pipe.capacity) return `a pipe of ${pipe.capacity} bytes with ${length} in it`;
  }
  return null;
}

function isAbsolute(path: string): boolean {
  return path.startsWith('/') && !path.includes('\0');
}

function checkDescription(table: DescriptorTableImage, index: number, image: DescriptionImage): string | null {
  switch (image.kind) {
    case 'file': {
      if (!isAbsolute(image.path)) return `path ${image.path}`;
      if (image.carried === null) return null;
      const file = table.carriedFiles[image.carried];
      if (file === undefined || (file.mode & S_IFMT) !== 0) return `carried file ${image.carried}`;
      if (image.fileType !== 'regular') return 'a directory with contents';
      return null;
    }
    case 'device':
      return isAbsolute(image.path) ? null : `path ${image.path}`;
    case 'pipe': {
      const pipe = table.pipes[image.pipe];
      if (pipe === undefined) return `pipe ${image.pipe}`;
      const access = image.flags & O_ACCMODE;
      return access > 2 ? `access mode ${access}` : null;
    }
    case 'epoll': {
      const wrong = image.items.find((item) => item.target >= table.descriptions.length || item.target === index);
      return wrong === undefined ? null : `target ${wrong.target}`;
    }
    case 'udp-socket':
    case 'tcp-socket': {
      const length = image.family === 'inet' ? 4 : 16;
      const addresses = [image.local, image.kind === 'udp-socket' ? image.remote : null];
      const groups = image.kind === 'udp-socket' ? image.memberships.flatMap((m) => [m.group, ...m.sources]) : [];
      const fits = (address: Uint8Array): boolean => address.length === length;
      // An IPv6 socket can be a member of IPv4 groups as well.
      const groupFits = (address: Uint8Array): boolean => fits(address) || image.family === 'inet6';
      if (!addresses.every((address) => address === null || fits(address.address))) return 'address of another family';
      return groups.every(groupFits) ? null : 'multicast group of another family';
    }
    case 'unix-socket': {
      if (image.shutdown > 3) return `shutdown ${image.shutdown}`;
      if (image.peer === null) return image.connected || image.chunks.length === 0 ? null : 'bytes from nobody';
      const peer = table.descriptions[image.peer];
      const mutual = peer?.kind === 'unix-socket' && peer.peer === index && peer.type === image.type;
      return mutual && image.peer !== index && image.connected ? null : `peer ${image.peer}`;
    }
    case 'netlink-socket':
      return image.groups.every((group, at) => group > (image.groups[at - 1] ?? 0)) ? null : 'groups out of order';
    case 'inotify':
      return image.watches.every((watch) => isAbsolute(watch.path) && watch.watch > 0) ? null : 'watch';
    case 'inherited':
    case 'eventfd':
    case 'timerfd':
    case 'signalfd':
      return null;
    default:
      return unreachable(image);
  }
}
