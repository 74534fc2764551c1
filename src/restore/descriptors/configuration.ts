import { defined, unreachable } from '../../base/assert.ts';
import type {
  DescriptionImage,
  DescriptorTableImage,
  NetlinkSocketImage,
  TimerfdImage,
  UnixSocketImage,
} from '../../image/descriptors/types.ts';
import { addToEventfd, MAX_INITIAL_COUNT } from '../../linux/eventfd.ts';
import { fileStatus, getPipeCapacity, setPipeCapacity } from '../../linux/file-descriptors.ts';
import type { IdMaps } from '../../linux/id-map.ts';
import { encodeNetlinkAddress, joinNetlinkGroup } from '../../linux/netlink-address.ts';
import type { RootDirectory } from '../../linux/root-directory.ts';
import { NETLINK_OPTIONS, UNIX_OPTIONS } from '../../linux/socket-options.ts';
import { bindSocket, sendNow, shutDown } from '../../linux/sockets.ts';
import { clockTime, isWallClock, setTicks, setTimer, TFD_TIMER_ABSTIME } from '../../linux/timerfd.ts';
import { type Copies, restoreError, type Subject, step } from './context.ts';
import type { Created } from './creation.ts';
import { configureFile, fillNamelessFile, namelessFiles } from './files.ts';
import { configureTcp, configureUdp } from './inet-sockets.ts';
import { configureInotify } from './inotify.ts';
import { endsOf, fillFifo, fillPipe, settleFlags } from './pipes.ts';
import { setOptions } from './socket-options.ts';

/** Gives the new descriptions their state, from outside: without a call inside the process. */
export function configureDescriptions(
  table: DescriptorTableImage,
  created: Created,
  copies: Copies,
  subjects: readonly Subject[],
  root: RootDirectory,
  ids: IdMaps,
): void {
  const copyOf = (index: number): number => copies.of(defined(created.numbers[index], 'a description that was made'));
  for (const pipe of table.pipes.keys()) {
    const subject = subjects[endsOf(table.descriptions, pipe)[0]!.index]!;
    step(subject, 'fill a pipe', () => configurePipe(table, pipe, created, copies, copyOf, root));
  }
  for (const [carried, index] of namelessFiles(table)) {
    const file = defined(table.carriedFiles[carried], 'a carried file');
    step(subjects[index]!, `write ${file.path}`, () => fillNamelessFile(copyOf(index), file, ids));
  }
  for (const [index, image] of table.descriptions.entries()) {
    const subject = subjects[index]!;
    step(subject, `set up a descriptor of kind ${image.kind}`, () =>
      configure(subject, image, () => copyOf(index), root),
    );
  }
  // Behind the options of both ends, which say how much fits.
  for (const [index, image] of table.descriptions.entries()) {
    if (image.kind !== 'unix-socket') continue;
    const other = created.others.get(index);
    step(subjects[index]!, 'fill a socket', () => {
      if (other !== undefined && image.chunks.length > 0) fillSocket(copies.of(other), image);
    });
  }
  for (const [index, image] of table.descriptions.entries()) {
    if (image.kind === 'unix-socket' && image.shutdown !== 0) shutDown(copyOf(index), image.shutdown - 1);
  }
}

function configurePipe(
  table: DescriptorTableImage,
  pipe: number,
  created: Created,
  copies: Copies,
  copyOf: (index: number) => number,
  root: RootDirectory,
): void {
  const image = table.pipes[pipe]!;
  const ends = endsOf(table.descriptions, pipe);
  if (image.path === null) {
    fillPipe(image, copies.of(defined(created.pipes.get(pipe), 'a pipe that was made').writeEnd));
    return;
  }
  const any = copyOf(ends[0]!.index);
  if (getPipeCapacity(any) !== image.capacity) setPipeCapacity(any, image.capacity);
  fillFifo(root, image, image.path, ends);
}

/** @param copy gets a copy of the descriptor in this process, where one is needed. */
function configure(subject: Subject, image: DescriptionImage, copy: () => number, root: RootDirectory): void {
  switch (image.kind) {
    case 'file': {
      const file = copy();
      configureFile(subject, image, file);
      settleFlags(file, image.flags);
      break;
    }
    case 'device': {
      const { major, minor } = fileStatus(copy());
      if (major !== image.major || minor !== image.minor) {
        throw restoreError(subject, `${image.path} is device ${major}:${minor} here`);
      }
      break;
    }
    case 'pipe':
    case 'inherited':
      settleFlags(copy(), image.flags);
      break;
    case 'eventfd':
      if (image.count > MAX_INITIAL_COUNT) addToEventfd(copy(), image.count);
      break;
    case 'timerfd':
      configureTimer(image, copy);
      break;
    case 'udp-socket':
      configureUdp(subject, image, copy());
      break;
    case 'unix-socket': {
      const socket = copy();
      setOptions(subject, image.options, socket, UNIX_OPTIONS);
      settleFlags(socket, image.flags);
      break;
    }
    case 'netlink-socket':
      configureNetlink(subject, image, copy());
      break;
    case 'inotify':
      configureInotify(subject, image, copy, root);
      break;
    case 'tcp-socket':
      configureTcp(subject, image, copy());
      break;
    case 'epoll':
    case 'signalfd':
      break;
    default:
      unreachable(image);
  }
}

function fillSocket(sender: number, { chunks }: UnixSocketImage): void {
  for (const chunk of chunks) sendNow(sender, chunk);
}

function configureNetlink(subject: Subject, image: NetlinkSocketImage, copy: number): void {
  setOptions(subject, image.options, copy, NETLINK_OPTIONS);
  if (image.port !== 0) bindSocket(copy, encodeNetlinkAddress(image));
  for (const group of image.groups) joinNetlinkGroup(copy, group);
}

function configureTimer(image: TimerfdImage, copy: () => number): void {
  const { remaining, interval, settimeFlags, ticks } = image;
  if (remaining > 0n || interval > 0n || settimeFlags !== 0) {
    setTimer(copy(), settimeFlags, nextExpiry(image), interval);
  }
  if (ticks > 0n) setTicks(copy(), ticks);
}

/**
 * A timer that was set to a time of day expires at that time, however long the move took. Every other one runs on with
 * what remained when the process was stopped: its clock means nothing on another machine.
 */
function nextExpiry({ clock, settimeFlags, remaining, expiry }: TimerfdImage): bigint {
  if (remaining === 0n || (settimeFlags & TFD_TIMER_ABSTIME) === 0) return remaining;
  return isWallClock(clock) ? expiry : clockTime(clock) + remaining;
}
