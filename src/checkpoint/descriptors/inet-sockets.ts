import type {
  MembershipImage,
  SocketAddressImage,
  SocketOptionImage,
  TcpSocketImage,
  UdpSocketImage,
} from '../../image/descriptors/types.ts';
import { POLL, pollNow } from '../../linux/file-descriptors.ts';
import { type JoinedGroup, joinedGroups, sourceFilter } from '../../linux/multicast.ts';
import { type SocketOption, socketOptions } from '../../linux/socket-options.ts';
import {
  decodeInetAddress,
  getSocketFilter,
  interfaceName,
  localAddress,
  remoteAddress,
  TCP_CLOSE,
  TCP_LISTEN,
  tcpState,
  tryGetSocketOption,
} from '../../linux/sockets.ts';
import { endpointText } from './socket-names.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

type Family = UdpSocketImage['family'];

/** Sent datagrams are counted for their time stamps (linux/net_tstamp.h); the counter cannot be set. */
const SOF_TIMESTAMPING_OPT_ID = 1 << 7;

/** Captures UDP sockets and TCP sockets without a connection. */
export class InetSocketCapture {
  readonly #source: DescriptorSource;
  #groups: readonly JoinedGroup[] | null = null;

  constructor(source: DescriptorSource) {
    this.#source = source;
  }

  udp({ number, flags }: Found, family: Family): UdpSocketImage {
    const socket = this.#source.copy(number);
    const local = boundAddress(socket);
    const remote = remoteAddress(socket);
    const name = `a UDP socket ${endpointText(localAddress(socket))}`;
    const closed = pollNow(socket, POLL.RDHUP);
    return {
      kind: 'udp-socket',
      flags,
      family,
      local,
      remote: remote === null ? null : addressImage(socket, remote),
      shutdown: (closed & POLL.HUP) !== 0 ? 'both' : (closed & POLL.RDHUP) !== 0 ? 'reading' : 'nothing',
      options: captureOptions(socket, number, name, socketOptions(family, 'udp')),
      memberships: this.#memberships(socket),
      filter: captureFilter(socket, number, name),
    };
  }

  tcp({ number, flags }: Found, family: Family): TcpSocketImage {
    const socket = this.#source.copy(number);
    const { state, waiting, backlog } = tcpState(socket);
    const local = endpointText(localAddress(socket));
    if (state !== TCP_CLOSE && state !== TCP_LISTEN) {
      const remote = remoteAddress(socket);
      const peer = remote === null ? 'whose connection is ending' : `connected to ${endpointText(remote)}`;
      throw new Refusal(number, `a TCP socket ${peer}`);
    }
    if (waiting > 0) {
      throw new Refusal(number, `a TCP socket that listens on ${local} and has ${waiting} connections to accept`);
    }
    const name = `a TCP socket ${local}`;
    return {
      kind: 'tcp-socket',
      flags,
      family,
      local: boundAddress(socket),
      backlog: state === TCP_LISTEN ? backlog : null,
      options: captureOptions(socket, number, name, socketOptions(family, 'tcp')),
      filter: captureFilter(socket, number, name),
    };
  }

  #memberships(socket: number): MembershipImage[] {
    this.#groups ??= joinedGroups(this.#source.pid);
    return this.#groups.flatMap((joined) => {
      const filter = sourceFilter(socket, joined);
      return filter === null ? [] : [{ device: joined.device, group: joined.group, ...filter }];
    });
  }
}

/** The address that a socket is bound to; null: it is not bound. */
function boundAddress(socket: number): SocketAddressImage | null {
  const local = addressImage(socket, localAddress(socket));
  return local.port === 0 && local.address.every((byte) => byte === 0) ? null : local;
}

function addressImage(socket: number, raw: Buffer): SocketAddressImage {
  const { address, port, flowInfo, scopeId } = decodeInetAddress(raw);
  return { address, port, flowInfo, scope: interfaceName(socket, scopeId) };
}

function captureOptions(
  socket: number,
  number: number,
  name: string,
  options: readonly SocketOption[],
): SocketOptionImage[] {
  return options.flatMap((option) => {
    const value = tryGetSocketOption(socket, option.level, option.number, option.maxBytes);
    // A kernel without this option has its default behaviour.
    if (typeof value === 'number') return [];
    if (option.onlyZero && value.some((byte) => byte !== 0)) {
      throw new Refusal(number, `${name} with ${option.name} set, which cannot be moved`);
    }
    if (option.name.startsWith('SO_TIMESTAMPING') && (value.readUInt32LE(0) & SOF_TIMESTAMPING_OPT_ID) !== 0) {
      throw new Refusal(number, `${name} with SOF_TIMESTAMPING_OPT_ID, whose count cannot be moved`);
    }
    return [{ level: option.level, option: option.number, value: portableValue(socket, option, value) }];
  });
}

/** Interfaces by name instead of by index. */
function portableValue(socket: number, { interfaceIndex }: SocketOption, value: Buffer): Buffer {
  if (interfaceIndex === null) return value;
  const index = interfaceIndex === 'host' ? value.readUInt32LE(0) : value.readUInt32BE(0);
  return Buffer.from(interfaceName(socket, index), 'utf8');
}

function captureFilter(socket: number, number: number, name: string): Buffer {
  const filter = getSocketFilter(socket);
  if (filter === null) throw new Refusal(number, `${name} with an eBPF filter`);
  return filter;
}
