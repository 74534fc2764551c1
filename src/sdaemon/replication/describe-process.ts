/** What decides whether a process can be replicated: its sockets, and what crosses the loopback device of its sandbox. */
import { ipv4Text } from '../../base/ipv4.ts';
import { joinedGroups, sourceFilter } from '../../linux/multicast.ts';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_PACKET,
  AF_UNIX,
  decodeInetAddress,
  localAddress,
  remoteAddress,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
  type SocketType,
  socketType,
  TCP_CLOSE,
  TCP_LISTEN,
  tcpState,
  tryGetSocketOption,
} from '../../linux/sockets.ts';
import type { ProcessDescription, SocketDescription, UdpDescription } from '../../replication/eligibility.ts';
import { closeSockets, openSockets } from '../dataplane/process-sockets.ts';

const SO_BINDTODEVICE = 25;
const DEVICE_NAME_BYTES = 16;
const AF_UNSPEC = 0;
const MAPPED_PREFIX = '00000000000000000000ffff';
const LOOPBACK_6 = '00000000000000000000000000000001';

export type Described = {
  readonly pid: number;
  /** Of the sandbox. */
  readonly address: string;
  /** Where it can write to files of the machine (machineFiles of its configuration). */
  readonly machineFiles: readonly string[];
};

/**
 * Sockets that cannot be moved at all are none of its concern: whoever captures the process refuses them.
 * @throws KernelError ESRCH, ENOENT: no such process
 */
export function describeProcess({ pid, address, machineFiles }: Described): ProcessDescription {
  const sockets = openSockets(pid, () => true);
  try {
    const described = sockets.map(({ descriptor }) => describe(pid, descriptor));
    return { sockets: described, address, loopbackPackets: 0, machineFiles };
  } finally {
    closeSockets(sockets);
  }
}

function describe(pid: number, socket: number): SocketDescription {
  const kind = socketType(socket);
  const { domain, type } = kind;
  if (domain === AF_UNIX) return { kind: 'unix', peer: 'inside' };
  if (domain === AF_NETLINK) return { kind: 'netlink', subscribed: false };
  if (domain === AF_PACKET) return { kind: 'packet', name: nameOf(kind) };
  const isInternet = domain === AF_INET || domain === AF_INET6;
  if (isInternet && type === SOCK_DGRAM) return describeUdp(pid, socket);
  if (isInternet && type === SOCK_STREAM) {
    const { state } = tcpState(socket);
    if (state === TCP_LISTEN) return { kind: 'tcp', state: 'listening' };
    return { kind: 'tcp', state: state === TCP_CLOSE ? 'closed' : 'connected' };
  }
  return { kind: 'other', name: nameOf(kind) };
}

function describeUdp(pid: number, socket: number): UdpDescription {
  const local = decodeInetAddress(localAddress(socket));
  const peer = remoteAddress(socket);
  const remote = peer === null || peer.readUInt16LE(0) === AF_UNSPEC ? undefined : decodeInetAddress(peer);
  const device = tryGetSocketOption(socket, SOL_SOCKET, SO_BINDTODEVICE, DEVICE_NAME_BYTES);
  const deviceName = typeof device === 'number' ? '' : device.toString('latin1').replace(/\0.*$/s, '');
  return {
    kind: 'udp',
    localPort: local.port,
    localAddress: local.address.every((byte) => byte === 0) ? undefined : textOf(local.address),
    remote: remote === undefined ? undefined : { address: textOf(remote.address), port: remote.port },
    // Both are refused where the process is captured.
    ...{ corked: false, encapsulates: false },
    multicast: joinedGroups(pid).some((joined) => sourceFilter(socket, joined) !== null),
    device: deviceName === '' ? undefined : deviceName,
  };
}

const nameOf = ({ domain, type, protocol }: SocketType): string =>
  `family ${domain}, type ${type}, protocol ${protocol}`;

function textOf(address: Buffer): string {
  if (address.length === 4) return ipv4Text(address);
  const hex = address.toString('hex');
  if (hex.startsWith(MAPPED_PREFIX)) return `::ffff:${ipv4Text(address.subarray(12))}`;
  return hex === LOOPBACK_6 ? '::1' : hex;
}
