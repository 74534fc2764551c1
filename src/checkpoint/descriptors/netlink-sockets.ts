import type { NetlinkSocketImage } from '../../image/descriptors/types.ts';
import { POLL, pollNow } from '../../linux/file-descriptors.ts';
import { decodeNetlinkAddress, netlinkGroups } from '../../linux/netlink-address.ts';
import { NETLINK_OPTIONS } from '../../linux/socket-options.ts';
import { localAddress, remoteAddress, SOCK_RAW, type SocketType } from '../../linux/sockets.ts';
import { socketText } from './socket-names.ts';
import { captureOptions } from './socket-options.ts';
import { type DescriptorSource, type Found, Refusal } from './source.ts';

/** The protocol of links, addresses and routes: stateless but for its memberships. */
const NETLINK_ROUTE = 0;

export function captureNetlink(
  source: DescriptorSource,
  { number, flags }: Found,
  type: SocketType,
): NetlinkSocketImage {
  const copy = source.copy(number);
  const name = socketText(copy, type);
  if (type.protocol !== NETLINK_ROUTE) throw new Refusal(number, name);
  const remote = remoteAddress(copy);
  if (remote !== null && decodeNetlinkAddress(remote).port !== 0) throw new Refusal(number, `${name}, connected`);
  // What the kernel has answered about this machine's links means nothing on another.
  if ((pollNow(copy, POLL.IN) & POLL.IN) !== 0) throw new Refusal(number, `${name}, with unread messages`);
  return {
    kind: 'netlink-socket',
    flags,
    type: type.type === SOCK_RAW ? 'raw' : 'datagram',
    protocol: type.protocol,
    port: decodeNetlinkAddress(localAddress(copy)).port,
    groups: netlinkGroups(copy),
    options: captureOptions(copy, number, name, NETLINK_OPTIONS),
  };
}
