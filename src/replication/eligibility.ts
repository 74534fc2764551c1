/**
 * Whether a process can be replicated, by what its sockets are. Some inputs are no datagrams that cross the sandbox's link,
 * and some outputs act on the world in a way that a gate does not hold: a process that has such is refused by name before
 * anything starts. Pure.
 */
import { ComicranError } from '../base/errors.ts';

export type UdpDescription = {
  readonly kind: 'udp';
  /** 0: it is not bound. */
  readonly localPort: number;
  /** Dotted, or in IPv6's own form; undefined: any. */
  readonly localAddress: string | undefined;
  readonly remote: { readonly address: string; readonly port: number } | undefined;
  /** UDP_CORK is set, or part of a datagram waits for its rest. */
  readonly corked: boolean;
  /** UDP_ENCAP: something in the kernel reads it. */
  readonly encapsulates: boolean;
  /** Member of a group, IPv4 or IPv6. */
  readonly multicast: boolean;
  /** SO_BINDTODEVICE; undefined: none. */
  readonly device: string | undefined;
};

export type SocketDescription =
  | UdpDescription
  | { readonly kind: 'tcp'; readonly state: 'closed' | 'listening' | 'connected' }
  /** Where the other end is; `none`: not connected, and no name that another could connect to. */
  | { readonly kind: 'unix'; readonly peer: 'none' | 'inside' | 'outside' }
  | { readonly kind: 'netlink' /** Subscribed to news of the kernel. */; readonly subscribed: boolean }
  | { readonly kind: 'raw' | 'packet' | 'other'; readonly name: string };

export type ProcessDescription = {
  readonly sockets: readonly SocketDescription[];
  /** Of the sandbox, dotted. */
  readonly address: string;
  /** Packets that crossed the sandbox's loopback device while it was watched. */
  readonly loopbackPackets: number;
  /** Of the sandbox: where it can write to files of the machine, which a gate does not hold and a photograph has not got. */
  readonly machineFiles?: readonly string[];
};

/** Every reason, with what it means to an operator. */
export const UNSUITABLE = {
  loopback: 'it talks to itself over the loopback device, which is not watched',
  'shared-port': 'several of its sockets share a port, and the kernel spreads datagrams over them',
  corked: 'part of a datagram waits in a socket for its rest',
  encapsulation: 'the kernel takes datagrams out of one of its sockets',
  multicast: 'one of its sockets is a member of a multicast group',
  device: 'one of its sockets is bound to another device than the link',
  'tcp-connection': 'it has a TCP connection',
  'tcp-listener': 'it listens for TCP connections',
  'unix-socket': 'it has a unix socket to the outside',
  'kernel-news': 'it listens to news of the kernel (netlink)',
  'machine-files': 'it can write to files of the machine, where its copy would write as well',
  'raw-socket': 'it has a socket that sends or receives other packets than UDP datagrams',
} as const satisfies Record<string, string>;

type UnsuitableReason = keyof typeof UNSUITABLE;

const isLoopback = (address: string): boolean => address === '::1' || /^(?:::ffff:)?127\./.test(address);

/** The reasons why a process cannot be replicated, each once; empty: it can. */
export function unsuitableReasons({
  sockets,
  address,
  loopbackPackets,
  machineFiles = [],
}: ProcessDescription): UnsuitableReason[] {
  const reasons = new Set<UnsuitableReason>(sockets.flatMap((socket) => reasonsOf(socket, address)));
  if (loopbackPackets > 0) reasons.add('loopback');
  if (machineFiles.length > 0) reasons.add('machine-files');
  const udp = sockets.filter((socket) => socket.kind === 'udp');
  if (udp.some((socket, at) => udp.slice(at + 1).some((other) => isSameEnd(socket, other)))) reasons.add('shared-port');
  return Array.from(reasons);
}

function reasonsOf(socket: SocketDescription, own: string): UnsuitableReason[] {
  switch (socket.kind) {
    case 'udp':
      return udpReasons(socket, own);
    case 'tcp':
      return { closed: [], listening: ['tcp-listener' as const], connected: ['tcp-connection' as const] }[socket.state];
    case 'unix':
      return socket.peer === 'outside' ? ['unix-socket'] : [];
    case 'netlink':
      return socket.subscribed ? ['kernel-news'] : [];
    case 'raw':
    case 'packet':
    case 'other':
      return ['raw-socket'];
  }
}

function udpReasons(socket: UdpDescription, own: string): UnsuitableReason[] {
  const reasons: UnsuitableReason[] = [];
  const { localAddress, remote } = socket;
  const inside = (address: string): boolean => isLoopback(address) || address === own || address === `::ffff:${own}`;
  if (localAddress !== undefined && isLoopback(localAddress)) reasons.push('loopback');
  if (remote !== undefined && inside(remote.address)) reasons.push('loopback');
  if (socket.corked) reasons.push('corked');
  if (socket.encapsulates) reasons.push('encapsulation');
  if (socket.multicast) reasons.push('multicast');
  if (socket.device !== undefined && socket.device !== 'eth0') reasons.push('device');
  return reasons;
}

/** Two sockets between which the kernel chooses. */
function isSameEnd(one: UdpDescription, other: UdpDescription): boolean {
  if (one.localPort === 0 || one.localPort !== other.localPort || one.localAddress !== other.localAddress) return false;
  return one.remote?.address === other.remote?.address && one.remote?.port === other.remote?.port;
}

/** @throws ComicranError replication.unsuitable, with every reason */
export function checkEligible(process: ProcessDescription): void {
  const reasons = unsuitableReasons(process);
  if (reasons.length === 0) return;
  const places = process.machineFiles?.join(', ') ?? '';
  const words = reasons.map((reason) => UNSUITABLE[reason] + (reason === 'machine-files' ? ` (${places})` : ''));
  const scratch = ' Where it is no harm that both write, declare the mount scratch in the configuration.';
  throw new ComicranError('replication.unsuitable', `the process cannot be replicated: ${words.join('; ')}`, {
    hint: `Use another mode: postcopy moves any process, with a short stop.${places === '' ? '' : scratch}`,
  });
}
