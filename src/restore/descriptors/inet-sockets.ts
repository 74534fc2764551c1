import type {
  MembershipImage,
  SocketAddressImage,
  TcpSocketImage,
  UdpSocketImage,
} from '../../image/descriptors/types.ts';
import { joinGroup } from '../../linux/multicast.ts';
import { inetOptions } from '../../linux/socket-options.ts';
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
} from '../../linux/sockets.ts';
import { type Subject, step } from './context.ts';
import { setOptions } from './socket-options.ts';

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
  setOptions(subject, image.options, copy, inetOptions(image.family, transport));
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
