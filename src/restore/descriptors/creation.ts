import { assert, defined } from '../../base/assert.ts';
import type { DescriptionImage, DescriptorTableImage, UnixSocketImage } from '../../image/descriptors/types.ts';
import { MAX_INITIAL_COUNT } from '../../linux/eventfd.ts';
import { cString } from '../../linux/libc.ts';
import { O } from '../../linux/open-flags.ts';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_SEQPACKET,
  SOCK_STREAM,
} from '../../linux/sockets.ts';
import { SYS } from '../../linux/syscall-numbers.ts';
import { type RecreateContext, restoreError, type Subject } from './context.ts';
import { openFlags } from './files.ts';
import { endsOf, inPackets } from './pipes.ts';
import type { RemoteCalls } from './remote-calls.ts';

const AT_FDCWD = -100;
const EFD_SEMAPHORE = 1;
const SIGSET_BYTES = 8;
const UNIX_TYPES = { stream: SOCK_STREAM, datagram: SOCK_DGRAM, seqpacket: SOCK_SEQPACKET } as const;

export type Created = {
  /** For each description its number in the new process. */
  readonly numbers: readonly number[];
  /** For each pipe without a name both its ends, also those that the image does not have. */
  readonly pipes: ReadonlyMap<number, { readonly readEnd: number; readonly writeEnd: number }>;
  /** For each connected unix socket the number of its other end, also where the image does not have that. */
  readonly others: ReadonlyMap<number, number>;
};

/**
 * By the index of a description with a carried file: the path at which the new process opens it, or the description of the
 * same file that it is opened anew from.
 */
export type Paths = ReadonlyMap<number, { readonly path: string } | { readonly like: number }>;

/**
 * Makes the open file descriptions in the new process, at whatever numbers. Their contents and most of their state are
 * still missing.
 */
export function createDescriptions(
  { inherited }: RecreateContext,
  table: DescriptorTableImage,
  calls: RemoteCalls,
  subjects: readonly Subject[],
  paths: Paths,
): Created {
  const creation = new Creation(calls, subjects);
  const { numbers } = creation;
  const usedNames = new Set<string>();
  for (const [index, image] of table.descriptions.entries()) {
    if (image.kind === 'pipe') continue;
    if (image.kind !== 'inherited') {
      creation.make(index, image, paths);
      continue;
    }
    // A second description of an inherited pipe is opened anew below.
    if (usedNames.has(image.name)) continue;
    usedNames.add(image.name);
    numbers[index] =
      inherited.get(image.name) ??
      throwing(restoreError(subjects[index]!, `nothing called '${image.name}' is inherited here`));
  }
  for (const [pipe, { path }] of table.pipes.entries()) {
    const ends = endsOf(table.descriptions, pipe);
    if (path === null) creation.makePipe(pipe, table.descriptions);
    // Readers first: opening a FIFO for writing fails where nobody reads.
    else for (const { index, image } of ends) creation.open(index, path, image.flags | O.NONBLOCK);
  }
  calls.flush();
  reopen(table, creation, paths);
  calls.flush();
  return creation;
}

/**
 * Makes what has no path from another description of the same thing: descriptions of a pipe beyond its two ends, and of a
 * file without a name. They were once opened through /proc/self/fd, and are so again.
 */
function reopen({ descriptions }: DescriptorTableImage, creation: Creation, paths: Paths): void {
  const inherited = new Map<string, number>();
  const from = (index: number, image: DescriptionImage): number | undefined => {
    if (image.kind === 'inherited') return inherited.get(image.name);
    if (image.kind === 'pipe') return creation.pipes.get(image.pipe)?.readEnd;
    const where = paths.get(index);
    return where !== undefined && 'like' in where ? creation.numbers[where.like] : undefined;
  };
  for (const [index, image] of descriptions.entries()) {
    const made = creation.numbers[index];
    if (made === undefined) {
      const number = defined(from(index, image), `what description ${index} is made from`);
      const nonBlocking = image.kind === 'file' ? 0 : O.NONBLOCK;
      creation.open(index, `/proc/self/fd/${number}`, openFlags(image.flags) | nonBlocking);
    } else if (image.kind === 'inherited') {
      inherited.set(image.name, made);
    }
  }
}

function throwing(error: Error): never {
  throw error;
}

class Creation {
  readonly numbers: number[] = [];
  readonly pipes = new Map<number, { readonly readEnd: number; readonly writeEnd: number }>();
  readonly others = new Map<number, number>();
  readonly #calls: RemoteCalls;
  readonly #subjects: readonly Subject[];

  constructor(calls: RemoteCalls, subjects: readonly Subject[]) {
    this.#calls = calls;
    this.#subjects = subjects;
  }

  make(index: number, image: Exclude<DescriptionImage, { kind: 'pipe' | 'inherited' }>, paths: Paths): void {
    const nonBlocking = image.flags & O.NONBLOCK;
    switch (image.kind) {
      case 'file':
      case 'device': {
        const where = paths.get(index) ?? image;
        if ('path' in where) this.open(index, where.path, openFlags(image.flags), 0o600);
        break;
      }
      case 'eventfd': {
        const initial = image.count > MAX_INITIAL_COUNT ? 0n : image.count;
        const flags = nonBlocking | (image.semaphore ? EFD_SEMAPHORE : 0);
        this.#add(index, 'make an eventfd', SYS.eventfd2, initial, flags);
        break;
      }
      case 'epoll':
        this.#add(index, 'make an epoll descriptor', SYS.epoll_create1, 0);
        break;
      case 'timerfd':
        this.#add(index, `make a timer of clock ${image.clock}`, SYS.timerfd_create, image.clock, nonBlocking);
        break;
      case 'signalfd': {
        const mask = Buffer.alloc(SIGSET_BYTES);
        mask.writeBigUInt64LE(image.mask);
        this.#add(index, 'make a signalfd', SYS.signalfd4, -1, mask, SIGSET_BYTES, nonBlocking);
        break;
      }
      case 'udp-socket':
      case 'tcp-socket': {
        const domain = image.family === 'inet' ? AF_INET : AF_INET6;
        const type = image.kind === 'udp-socket' ? SOCK_DGRAM : SOCK_STREAM;
        this.#add(index, 'make a socket', SYS.socket, domain, type | nonBlocking, 0);
        break;
      }
      case 'netlink-socket': {
        const type = image.type === 'raw' ? SOCK_RAW : SOCK_DGRAM;
        this.#add(index, 'make a netlink socket', SYS.socket, AF_NETLINK, type | nonBlocking, image.protocol);
        break;
      }
      case 'unix-socket':
        this.#unixSocket(index, image);
        break;
      case 'inotify':
        this.#add(index, 'make an inotify descriptor', SYS.inotify_init1, nonBlocking);
        break;
    }
  }

  open(index: number, path: string, flags: number, mode = 0): void {
    this.#add(index, `open ${path}`, SYS.openat, AT_FDCWD, cString(path), flags & ~O.CLOEXEC, mode);
  }

  /** Both ends; one that the process does not have is closed with everything else that has no place in the table. */
  makePipe(pipe: number, descriptions: readonly DescriptionImage[]): void {
    const ends = endsOf(descriptions, pipe);
    const result = Buffer.alloc(8);
    const flags = O.NONBLOCK | (inPackets(ends) ? O.DIRECT : 0);
    this.#calls.add({
      what: 'make a pipe',
      number: SYS.pipe2,
      args: [result, flags],
      writesBack: true,
      done: () => {
        const reading = ends.find(({ image }) => (image.flags & O.ACCMODE) === O.RDONLY);
        const writing = ends.find(({ image }) => (image.flags & O.ACCMODE) === O.WRONLY);
        const [readEnd, writeEnd] = [result.readInt32LE(0), result.readInt32LE(4)];
        this.pipes.set(pipe, { readEnd, writeEnd });
        if (reading !== undefined) this.numbers[reading.index] = readEnd;
        if (writing !== undefined) this.numbers[writing.index] = writeEnd;
      },
      failed: (error) => throwing(restoreError(this.#subjects[ends[0]!.index]!, 'make a pipe', error)),
    });
  }

  /** The first of a pair makes both ends; where the other end is closed, it is there until the table is complete. */
  #unixSocket(index: number, { type: name, connected, peer, flags }: UnixSocketImage): void {
    const type = UNIX_TYPES[name] | (flags & O.NONBLOCK);
    if (!connected) {
      this.#add(index, 'make a unix socket', SYS.socket, AF_UNIX, type, 0);
      return;
    }
    if (peer !== null && peer < index) return;
    const result = Buffer.alloc(8);
    this.#calls.add({
      what: 'make a pair of sockets',
      number: SYS.socketpair,
      args: [AF_UNIX, type, 0, result],
      writesBack: true,
      done: () => {
        const [own, other] = [result.readInt32LE(0), result.readInt32LE(4)];
        this.numbers[index] = own;
        this.others.set(index, other);
        if (peer === null) return;
        this.numbers[peer] = other;
        this.others.set(peer, own);
      },
      failed: (error) => throwing(restoreError(this.#subjects[index]!, 'make a pair of sockets', error)),
    });
  }

  #add(index: number, what: string, number: number, ...args: (number | bigint | Buffer)[]): void {
    assert(this.numbers[index] === undefined, 'a description is made twice');
    this.#calls.add({
      what,
      number,
      args,
      done: (result) => {
        this.numbers[index] = result;
      },
      failed: (error) => throwing(restoreError(this.#subjects[index]!, what, error)),
    });
  }
}
