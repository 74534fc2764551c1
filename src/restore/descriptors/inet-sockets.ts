import type {
  MembershipImage,
  SocketAddressImage,
  SocketOptionImage,
  TcpSocketImage,
  UdpSocketImage,
} from '../../image/descriptors/types.ts';
import { errnoName } from '../../linux/errno.ts';
import { joinGroup } from '../../linux/multicast.ts';
import { type SocketOption, socketOptions } from '../../linux/socket-options.ts';
import {
  attachSocketFilter,
  bindSocket,
  connectSocket,
  encodeInetAddress,
  interfaceIndex,
  listenOn,
  SHUT_RD,
  SHUT_RDWR,
  shutDown,
  tryGetSocketOption,
  trySetSocketOption,
} from '../../linux/sockets.ts';
import { restoreError, type Subject, step } from './context.ts';

/**
 * Brings a new UDP socket to the state of the image, through a copy of its descriptor in this process: the socket stays in
 * the network namespace in which it was made.
 */
export function configureUdp(subject: Subject, image: UdpSocketImage, copy: number): void {
  configure(subject, image, copy, 'udp');
  if (image.remote !== null) {
    const remote = socketAddress(copy, image.remote);
    step(subject, `connect it to port ${image.remote.port}`, () => connectSocket(copy, remote));
  }
  for (const membership of image.memberships) {
    step(subject, `join a multicast group on ${membership.device}`, () => join(copy, membership));
  }
  if (image.shutdown !== 'nothing') shutDown(copy, image.shutdown === 'both' ? SHUT_RDWR : SHUT_RD);
}

export function configureTcp(subject: Subject, image: TcpSocketImage, copy: number): void {
  configure(subject, image, copy, 'tcp');
  const { backlog } = image;
  if (backlog !== null) step(subject, 'listen', () => listenOn(copy, backlog));
}

function configure(
  subject: Subject,
  image: UdpSocketImage | TcpSocketImage,
  copy: number,
  transport: 'udp' | 'tcp',
): void {
  if (image.filter.length > 0) step(subject, 'attach its filter', () => attachSocketFilter(copy, image.filter));
  setOptions(subject, image.options, copy, socketOptions(image.family, transport));
  if (image.local === null) return;
  const local = socketAddress(copy, image.local);
  step(subject, `bind it to port ${image.local.port}`, () => bindSocket(copy, local));
}

function socketAddress(socket: number, { address, port, flowInfo, scope }: SocketAddressImage): Buffer {
  return encodeInetAddress({ address: Buffer.from(address), port, flowInfo, scopeId: interfaceIndex(socket, scope) });
}

function join(socket: number, { device, group, mode, sources }: MembershipImage): void {
  const joined = { interfaceIndex: interfaceIndex(socket, device), device, group: Buffer.from(group) };
  joinGroup(socket, joined, { mode, sources: sources.map((source) => Buffer.from(source)) });
}

/**
 * Sets the options that are not already as they should be: a fresh socket has most of them, and some may be set only to
 * something new. Setting one can change another, so they are gone through until all of them fit.
 */
function setOptions(
  subject: Subject,
  images: readonly SocketOptionImage[],
  socket: number,
  known: readonly SocketOption[],
): void {
  const values = new Map(images.map(({ level, option, value }) => [key(level, option), Buffer.from(value)]));
  const options = known.filter(({ level, number }) => values.has(key(level, number)));
  if (options.length !== values.size) throw restoreError(subject, 'it has socket options that are not known here');
  let wrong = differing(socket, options, values);
  for (let round = 0; wrong.length > 0; round++) {
    if (round === 3) throw restoreError(subject, `socket option ${wrong[0]!.name} does not keep its value`);
    for (const option of wrong) setOption(subject, socket, option, values.get(key(option.level, option.number))!);
    wrong = differing(socket, options, values);
  }
}

const key = (level: number, option: number): string => `${level}:${option}`;

function differing(
  socket: number,
  options: readonly SocketOption[],
  values: ReadonlyMap<string, Buffer>,
): SocketOption[] {
  return options.filter((option) => {
    const now = tryGetSocketOption(socket, option.level, option.number, option.maxBytes);
    const wanted = localValue(socket, option, values.get(key(option.level, option.number))!);
    // A kernel that does not have the option behaves as if it were zero.
    if (typeof now === 'number') return wanted.some((byte) => byte !== 0);
    // Sizes of buffers can be set to even numbers only.
    return option.doubled ? now.readUInt32LE(0) >>> 1 !== wanted.readUInt32LE(0) >>> 1 : !now.equals(wanted);
  });
}

function setOption(subject: Subject, socket: number, option: SocketOption, value: Buffer): void {
  const wanted = localValue(socket, option, value);
  if (option.doubled) wanted.writeUInt32LE(wanted.readUInt32LE(0) >>> 1, 0);
  const result = trySetSocketOption(socket, option.level, option.setNumber, wanted);
  if (result < 0) {
    throw restoreError(subject, `set ${option.name} to ${value.toString('hex')}: ${errnoName(-result)}`);
  }
}

/** A copy of the value, with interfaces by their index here. */
function localValue(socket: number, { interfaceIndex: order, maxBytes }: SocketOption, value: Buffer): Buffer {
  if (order === null) return Buffer.from(value);
  const index = interfaceIndex(socket, value.toString('utf8'));
  const bytes = Buffer.alloc(maxBytes);
  if (order === 'host') bytes.writeUInt32LE(index, 0);
  else bytes.writeUInt32BE(index, 0);
  return bytes;
}
