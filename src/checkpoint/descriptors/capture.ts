/**
 * Captures the descriptor table of a stopped process.
 *
 * Nothing of the process changes: descriptors are looked at through /proc, through kcmp(2) and through copies (pidfd_getfd)
 * whose position, flags and queues are left as they are. No system call is made inside the process. What may show to a
 * process that looks very closely is named where it happens (countTicks, probeSemaphore).
 */
import { ComicranError } from '../../base/errors.ts';
import type { DescriptionImage, DescriptorTableImage } from '../../image/descriptors/types.ts';
import { S_IFIFO, S_IFMT } from '../../linux/file-descriptors.ts';
import { sharesDescriptorTable } from '../../linux/kcmp.ts';
import { O } from '../../linux/open-flags.ts';
import { SocketNamespaces } from '../../linux/socket-namespace.ts';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_UNIX,
  IPPROTO_TCP,
  IPPROTO_UDP,
  SOCK_DGRAM,
  SOCK_STREAM,
  socketType,
} from '../../linux/sockets.ts';
import { captureEventfd, captureSignalfd, captureTimerfd } from './counters.ts';
import { captureEpoll } from './epoll.ts';
import { FileCapture } from './files.ts';
import { InetSocketCapture } from './inet-sockets.ts';
import { captureInotify } from './inotify.ts';
import { captureNetlink } from './netlink-sockets.ts';
import { captureInherited, inheritedName, PipeCapture } from './pipes.ts';
import { readTable } from './sharing.ts';
import { socketText } from './socket-names.ts';
import { type CaptureContext, DescriptorSource, type Found, isGone, Refusal } from './source.ts';
import { UnixSocketCapture } from './unix-sockets.ts';

export type { InheritedPipe } from './source.ts';

/**
 * Every thread of the process must be stopped.
 *
 * @returns the whole table; every byte array in it is the caller's.
 * @throws ComicranError process.unsupported, naming every descriptor that cannot be moved; KernelError when the process
 *   has gone.
 */
export function captureDescriptors(context: CaptureContext): DescriptorTableImage {
  const { table, refusals } = captureTable(context);
  if (refusals.length > 0) throw refusalError(context.pid, refusals);
  return table;
}

type TableCapture = {
  /** Complete only without refusals, and of a process that is stopped. */
  readonly table: DescriptorTableImage;
  readonly refusals: readonly Refusal[];
};

/** As {@link captureDescriptors}, with the refusals as a value. */
export function captureTable(context: CaptureContext): TableCapture {
  using source = new DescriptorSource(context);
  const alone = loners(context);
  const found = readTable(source);
  using capture = new DescriptionCapture(source, found);
  const refusals = alone.map((tid) => new Refusal(null, `thread ${tid} has a descriptor table of its own`));
  const descriptions = new Map<Found, DescriptionImage>();
  // Timers last: see captureTimerfd.
  for (const description of found.toSorted((a, b) => Number(isTimer(a)) - Number(isTimer(b)))) {
    try {
      descriptions.set(description, capture.capture(description));
    } catch (thrown) {
      if (thrown instanceof Refusal) refusals.push(thrown);
      else if (!isGone(context, thrown)) throw thrown;
    }
  }
  attempt(refusals, () => capture.carryWritten());
  refusals.sort((a, b) => (a.number ?? -1) - (b.number ?? -1));
  return { refusals, table: capture.table(found, descriptions) };
}

/** A refusal is kept, anything else is thrown. */
export function attempt(refusals: Refusal[], run: () => void): void {
  try {
    run();
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    refusals.push(thrown);
  }
}

/** Threads that do not share the table of the process. */
export function loners({ pid, threads }: CaptureContext): number[] {
  return threads.filter((tid) => tid !== pid && !sharesDescriptorTable(pid, tid));
}

export const isTimer = ({ link }: Found): boolean => link === 'anon_inode:[timerfd]';

export function refusalError(pid: number, refusals: readonly Refusal[]): ComicranError {
  const list = refusals.map((refusal) => refusal.message).join('; ');
  return new ComicranError('process.unsupported', `process ${pid} has descriptors that cannot be moved: ${list}`, {
    hint: 'Let the process close them, or move it when it does not have them open.',
  });
}

/** Tells the kinds apart and hands each to the one that knows it. */
export class DescriptionCapture {
  readonly #source: DescriptorSource;
  readonly #found: readonly Found[];
  readonly #files: FileCapture;
  readonly #pipes: PipeCapture;
  readonly #sockets: InetSocketCapture;
  readonly #unix: UnixSocketCapture;
  readonly #namespaces: SocketNamespaces;

  constructor(source: DescriptorSource, found: readonly Found[]) {
    this.#source = source;
    this.#found = found;
    this.#files = new FileCapture(source);
    this.#pipes = new PipeCapture(
      source,
      Map.groupBy(found, ({ link }) => link),
    );
    this.#sockets = new InetSocketCapture(source);
    this.#unix = new UnixSocketCapture(source, found);
    this.#namespaces = new SocketNamespaces(source.pid);
  }

  capture(found: Found): DescriptionImage {
    const { link, number } = found;
    if (link.startsWith('/')) return this.#named(found);
    if (link.startsWith('socket:[')) return this.#socket(found);
    if (link.startsWith('pipe:[')) {
      const inherited = inheritedName(this.#source, link);
      return inherited === null ? this.#pipes.capture(found, null) : captureInherited(found, inherited);
    }
    switch (link) {
      case 'anon_inode:[eventfd]':
        return captureEventfd(this.#source, found);
      case 'anon_inode:[timerfd]':
        return captureTimerfd(this.#source, found);
      case 'anon_inode:[signalfd]':
        return captureSignalfd(found);
      case 'anon_inode:[eventpoll]':
        return captureEpoll(this.#source, found, this.#found);
      case 'anon_inode:inotify':
        return captureInotify(this.#source, found, this.#files);
      case 'anon_inode:[io_uring]':
        throw new Refusal(number, 'an io_uring (programs do without where io_uring_setup is denied, as in a sandbox)');
      default:
        throw new Refusal(number, `${link}, a kind of descriptor that cannot be moved`);
    }
  }

  /** What has a path, or is called by one: files, directories, devices, FIFOs, memory files. */
  #named(found: Found): DescriptionImage {
    const status = this.#source.directory.status(found.number);
    if ((status.mode & S_IFMT) === S_IFIFO && (found.flags & O.PATH) === 0) {
      return this.#pipes.capture(found, this.#files.fifoPath(found, status));
    }
    return this.#files.capture(found, status);
  }

  #socket(found: Found): DescriptionImage {
    const copy = this.#source.copy(found.number);
    if ((found.flags & O.ASYNC) !== 0) throw new Refusal(found.number, `${found.link}, open with O_ASYNC`);
    const type = socketType(copy);
    if (!this.#namespaces.isOwn(copy)) {
      throw new Refusal(found.number, `${socketText(copy, type)} in another network namespace`);
    }
    const family = type.domain === AF_INET ? 'inet' : type.domain === AF_INET6 ? 'inet6' : null;
    if (family !== null && type.type === SOCK_DGRAM && type.protocol === IPPROTO_UDP) {
      return this.#sockets.udp(found, family);
    }
    if (family !== null && type.type === SOCK_STREAM && type.protocol === IPPROTO_TCP) {
      return this.#sockets.tcp(found, family);
    }
    if (type.domain === AF_UNIX) return this.#unix.capture(found, type);
    if (type.domain === AF_NETLINK) return captureNetlink(this.#source, found, type);
    throw new Refusal(found.number, socketText(copy, type));
  }

  close(): void {
    this.#unix.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Behind the last descriptor. @throws Refusal */
  carryWritten(): void {
    this.#files.carryWritten();
  }

  table(found: readonly Found[], captured: ReadonlyMap<Found, DescriptionImage>): DescriptorTableImage {
    // All of them, unless some were refused or have gone.
    const kept = found.filter((description) => captured.has(description));
    const descriptors = kept.flatMap(({ descriptors }, description) =>
      descriptors.map((descriptor) => ({ ...descriptor, description })),
    );
    return {
      descriptors: descriptors.sort((a, b) => a.number - b.number),
      descriptions: kept.map((description) => captured.get(description)!),
      pipes: this.#pipes.pipes,
      carriedFiles: this.#files.carriedFiles,
    };
  }
}
