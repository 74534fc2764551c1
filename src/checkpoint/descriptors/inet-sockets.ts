import type {
  MembershipImage,
  SocketAddressImage,
  TcpSocketImage,
  UdpSocketImage,
} from '../../image/descriptors/types.ts';
import { POLL, pollNow } from '../../linux/file-descriptors.ts';
import { type JoinedGroup, joinedGroups, sourceFilter } from '../../linux/multicast.ts';
import { inetOptions } from '../../linux/socket-options.ts';
import {
  decodeInetAddress,
  interfaceName,
  localAddress,
  remoteAddress,
  TCP_CLOSE,
  TCP_LISTEN,
  tcpState,
} from '../../linux/sockets.ts';
import { endpointText } from './socket-names.ts';
import { captureFilter, captureOptions } from './socket-options.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

type Family = UdpSocketImage['family'];

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
      options: captureOptions(socket, number, name, inetOptions(family, 'udp')),
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
      options: captureOptions(socket, number, name, inetOptions(family, 'tcp')),
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
