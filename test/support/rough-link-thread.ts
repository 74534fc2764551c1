/** Carries frames between the two ends of a rough link, as a thread of its own that waits in poll(2). */
import { parentPort, workerData } from 'node:worker_threads';
import { EAGAIN, EINTR, ENETDOWN, KernelError } from '../../src/linux/errno.ts';
import { POLL } from '../../src/linux/file-descriptors.ts';
import { syscall, trySyscall } from '../../src/linux/libc.ts';
import { inNetnsOf } from '../../src/linux/netns.ts';
import { O } from '../../src/linux/open-flags.ts';
import { FrameSender } from '../../src/linux/packet-socket.ts';
import { closeDescriptor } from '../../src/linux/pidfd.ts';
import { PollSet } from '../../src/linux/poll.ts';
import { getLink, RouteSocket } from '../../src/linux/rtnetlink/index.ts';
import { AF_PACKET, bindSocket, SOCK_RAW, SOL_SOCKET, trySetSocketOption } from '../../src/linux/sockets.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';
import { type Direction, fateOf, type Kind, kindOf, LinkTable, randomNumbers } from './rough-link-plan.ts';

export type RoughLinkData = {
  readonly netns: string;
  /** Names of the devices: the one towards the network, and the one towards the machine. */
  readonly near: string;
  readonly far: string;
  readonly memory: SharedArrayBuffer;
  readonly seed: number;
};

const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const ETH_P_ALL_BE = 0x0300;
const SO_RCVBUFFORCE = 33;
const RECEIVE_BYTES = 64 << 20;
const FRAME_BYTES = 1 << 16;
/** A frame that is held back waits so long, at most. */
const HELD_MS = 8;
/** How often the thread looks whether it is to end. */
const LOOK_MS = 100;

/** Every frame that comes in at a device; not those that are sent through it from here. */
function openReceiver(link: number): number {
  const socket = syscall('socket(AF_PACKET)', SYS.socket, AF_PACKET, SOCK_RAW | O.CLOEXEC | O.NONBLOCK, 0);
  const set = (level: number, option: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    const result = trySetSocketOption(socket, level, option, bytes);
    if (result < 0) throw new KernelError(`setsockopt ${level}, ${option}`, -result);
  };
  set(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES);
  set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16LE(ETH_P_ALL_BE, 2);
  address.writeInt32LE(link, 4);
  bindSocket(socket, address);
  return socket;
}

type End = { readonly socket: number; readonly sender: FrameSender };
type Held = { readonly atMs: number; readonly frame: Buffer; readonly way: Way; readonly kind: Kind };
type Way = { readonly direction: Direction; readonly from: End; readonly to: End };

function openEnd(netns: string, name: string): End {
  return inNetnsOf({ name: netns }, () => {
    using route = new RouteSocket();
    const { index } = getLink(route, name);
    return { socket: openReceiver(index), sender: new FrameSender(index, { bypass: true }) };
  });
}

/** Until the table says that it is to end. */
function forward({ netns, near, far, memory, seed }: RoughLinkData): void {
  const table = new LinkTable(memory);
  const random = randomNumbers(seed);
  const [network, machine] = [openEnd(netns, near), openEnd(netns, far)];
  const ways: readonly Way[] = [
    { direction: 'in', from: network, to: machine },
    { direction: 'out', from: machine, to: network },
  ];
  const buffer = Buffer.alloc(FRAME_BYTES);
  const held: Held[] = [];
  const send = ({ direction, to }: Way, kind: Kind, frame: Uint8Array): void => {
    if (!to.sender.trySend(frame)) table.count(direction, kind, 'lost');
  };
  const take = (way: Way, frame: Buffer): void => {
    const { direction } = way;
    const kind = kindOf(frame);
    const fate = fateOf(table.faults(direction, kind), random);
    table.count(direction, kind, fate);
    if (fate === 'lost') return;
    if (fate === 'reordered') {
      held.push({ atMs: performance.now() + random() * HELD_MS, frame: Buffer.from(frame), way, kind });
      return;
    }
    send(way, kind, frame);
    if (fate === 'duplicated') send(way, kind, frame);
  };
  /** @returns how many milliseconds until the next is due. */
  const letGo = (): number => {
    const now = performance.now();
    let next = LOOK_MS;
    for (let index = 0; index < held.length; ) {
      const { atMs, frame, way, kind } = held[index]!;
      if (atMs > now) {
        next = Math.min(next, atMs - now);
        index++;
        continue;
      }
      held.splice(index, 1);
      send(way, kind, frame);
    }
    return next;
  };
  const poll = new PollSet(2);
  for (const [index, { from }] of ways.entries()) poll.set(index, from.socket, POLL.IN);
  parentPort?.postMessage('open');
  while (!table.over) {
    poll.wait(letGo());
    for (const [index, way] of ways.entries()) {
      if (poll.found(index) === 0) continue;
      // A few at a time, so that neither direction waits for the other.
      for (let count = 0; count < 32; count++) {
        const length = trySyscall(SYS.recvfrom, way.from.socket, buffer, FRAME_BYTES, 0, null, null);
        if (length === -EAGAIN) break;
        if (length === -EINTR || length === -ENETDOWN) continue;
        if (length < 0) throw new KernelError('recvfrom of a packet socket', -length);
        take(way, buffer.subarray(0, length));
      }
    }
  }
  for (const { socket, sender } of [network, machine]) {
    closeDescriptor(socket);
    sender.close();
  }
}

forward(workerData as RoughLinkData);
