/**
 * The options of sockets that are state: what getsockopt(2) tells and setsockopt(2) takes back.
 *
 * Left out, because they are facts about the past or about the peer and not settings: SO_ERROR, SO_INCOMING_CPU,
 * SO_INCOMING_NAPI_ID, SO_COOKIE, SO_MEMINFO, IP_MTU, TCP_INFO, TCP_QUICKACK. Multicast memberships and socket filters
 * have calls of their own.
 */
import { IPPROTO_TCP, IPPROTO_UDP, SOL_IP, SOL_IPV6, SOL_NETLINK, SOL_SOCKET } from './sockets.ts';

export type SocketOption = {
  readonly name: string;
  readonly level: number;
  readonly number: number;
  /** The longest value. */
  readonly maxBytes: number;
  /** Where the option is set by another number than it is got by: the forced variants of the buffer sizes. */
  readonly setNumber: number;
  /** The kernel tells twice what it was asked for. */
  readonly doubled: boolean;
  /** A value other than this one would have to be a state that cannot be moved: corked data and the like. */
  readonly onlyZero: boolean;
  /** The value is the index of an interface, in this order of bytes: it means something in one namespace only. */
  readonly interfaceIndex: 'host' | 'network' | null;
};

type Extra = Partial<Pick<SocketOption, 'maxBytes' | 'setNumber' | 'doubled' | 'onlyZero' | 'interfaceIndex'>>;

const row = (level: number, name: string, number: number, extra: Extra = {}): SocketOption => ({
  name,
  level,
  number,
  maxBytes: 4,
  setNumber: number,
  doubled: false,
  onlyZero: false,
  interfaceIndex: null,
  ...extra,
});
const rows = (level: number, table: readonly (readonly [string, number, Extra?])[]): SocketOption[] =>
  table.map(([name, number, extra]) => row(level, name, number, extra));

/** struct timeval, and 64-bit rates. */
const TIMEVAL = { maxBytes: 16 };
const LONG = { maxBytes: 8 };

/** asm-generic/socket.h, in the order in which they must be set: SO_BUF_LOCK behind what it locks. */
const OF_SOCKET = rows(SOL_SOCKET, [
  ['SO_DEBUG', 1],
  ['SO_REUSEADDR', 2],
  ['SO_DONTROUTE', 5],
  ['SO_BROADCAST', 6],
  ['SO_SNDBUF', 7, { setNumber: 32, doubled: true }],
  ['SO_RCVBUF', 8, { setNumber: 33, doubled: true }],
  ['SO_KEEPALIVE', 9],
  ['SO_OOBINLINE', 10],
  ['SO_NO_CHECK', 11],
  ['SO_LINGER', 13, LONG],
  ['SO_REUSEPORT', 15],
  ['SO_PASSCRED', 16],
  ['SO_RCVLOWAT', 18],
  ['SO_RCVTIMEO', 20, TIMEVAL],
  ['SO_SNDTIMEO', 21, TIMEVAL],
  ['SO_BINDTODEVICE', 25, { maxBytes: 16 }],
  ['SO_TIMESTAMP', 29],
  ['SO_PASSSEC', 34],
  ['SO_TIMESTAMPNS', 35],
  ['SO_MARK', 36],
  ['SO_TIMESTAMPING', 37],
  ['SO_RXQ_OVFL', 40],
  ['SO_WIFI_STATUS', 41],
  ['SO_PEEK_OFF', 42],
  ['SO_NOFCS', 43],
  ['SO_SELECT_ERR_QUEUE', 45],
  ['SO_BUSY_POLL', 46],
  ['SO_MAX_PACING_RATE', 47, LONG],
  ['SO_ZEROCOPY', 60],
  ['SO_TXTIME', 61, { maxBytes: 8, onlyZero: true }],
  ['SO_TIMESTAMP_NEW', 63],
  ['SO_TIMESTAMPNS_NEW', 64],
  ['SO_TIMESTAMPING_NEW', 65],
  ['SO_PREFER_BUSY_POLL', 69],
  ['SO_BUSY_POLL_BUDGET', 70],
  ['SO_BUF_LOCK', 72],
  ['SO_RESERVE_MEM', 73],
  ['SO_TXREHASH', 74],
  ['SO_RCVMARK', 75],
  ['SO_PASSPIDFD', 76],
]);

/** linux/in.h. An IPv6 socket has them too, for the IPv4 packets that it handles. */
const OF_IP = rows(SOL_IP, [
  ['IP_TOS', 1],
  ['IP_TTL', 2],
  ['IP_OPTIONS', 4, { maxBytes: 40 }],
  ['IP_RECVOPTS', 6],
  ['IP_RETOPTS', 7],
  ['IP_PKTINFO', 8],
  ['IP_MTU_DISCOVER', 10],
  ['IP_RECVERR', 11],
  ['IP_RECVTTL', 12],
  ['IP_RECVTOS', 13],
  ['IP_FREEBIND', 15],
  ['IP_PASSSEC', 18],
  ['IP_TRANSPARENT', 19],
  ['IP_RECVORIGDSTADDR', 20],
  ['IP_MINTTL', 21],
  ['IP_CHECKSUM', 23],
  ['IP_BIND_ADDRESS_NO_PORT', 24],
  ['IP_RECVFRAGSIZE', 25],
  ['IP_RECVERR_RFC4884', 26],
  ['IP_MULTICAST_IF', 32],
  ['IP_MULTICAST_TTL', 33],
  ['IP_MULTICAST_LOOP', 34],
  ['IP_MULTICAST_ALL', 49],
  ['IP_UNICAST_IF', 50, { interfaceIndex: 'network' }],
  ['IP_LOCAL_PORT_RANGE', 51],
]);

/** linux/in6.h, linux/ipv6.h. */
const OF_IPV6 = rows(SOL_IPV6, [
  ['IPV6_V6ONLY', 26],
  ['IPV6_2292PKTINFO', 2],
  ['IPV6_2292HOPOPTS', 3],
  ['IPV6_2292DSTOPTS', 4],
  ['IPV6_2292RTHDR', 5],
  ['IPV6_2292HOPLIMIT', 8],
  ['IPV6_FLOWINFO', 11],
  ['IPV6_UNICAST_HOPS', 16],
  ['IPV6_MULTICAST_IF', 17, { interfaceIndex: 'host' }],
  ['IPV6_MULTICAST_HOPS', 18],
  ['IPV6_MULTICAST_LOOP', 19],
  ['IPV6_MTU_DISCOVER', 23],
  ['IPV6_RECVERR', 25],
  ['IPV6_MULTICAST_ALL', 29],
  ['IPV6_RECVERR_RFC4884', 31],
  ['IPV6_FLOWINFO_SEND', 33],
  ['IPV6_RECVPKTINFO', 49],
  ['IPV6_RECVHOPLIMIT', 51],
  ['IPV6_RECVHOPOPTS', 53],
  ['IPV6_HOPOPTS', 54, { maxBytes: 256 }],
  ['IPV6_RTHDRDSTOPTS', 55, { maxBytes: 256 }],
  ['IPV6_RECVRTHDR', 56],
  ['IPV6_RTHDR', 57, { maxBytes: 256 }],
  ['IPV6_RECVDSTOPTS', 58],
  ['IPV6_DSTOPTS', 59, { maxBytes: 256 }],
  ['IPV6_RECVPATHMTU', 60],
  ['IPV6_DONTFRAG', 62],
  ['IPV6_RECVTCLASS', 66],
  ['IPV6_TCLASS', 67],
  ['IPV6_AUTOFLOWLABEL', 70],
  ['IPV6_ADDR_PREFERENCES', 72],
  ['IPV6_MINHOPCOUNT', 73],
  ['IPV6_RECVORIGDSTADDR', 74],
  ['IPV6_TRANSPARENT', 75],
  ['IPV6_UNICAST_IF', 76, { interfaceIndex: 'network' }],
  ['IPV6_RECVFRAGSIZE', 77],
  ['IPV6_FREEBIND', 78],
]);

/** linux/udp.h. */
const OF_UDP = rows(IPPROTO_UDP, [
  ['UDP_CORK', 1, { onlyZero: true }],
  ['UDP_ENCAP', 100, { onlyZero: true }],
  ['UDP_NO_CHECK6_TX', 101],
  ['UDP_NO_CHECK6_RX', 102],
  ['UDP_SEGMENT', 103],
  ['UDP_GRO', 104],
]);

/** linux/tcp.h. */
const OF_TCP = rows(IPPROTO_TCP, [
  ['TCP_NODELAY', 1],
  ['TCP_MAXSEG', 2],
  ['TCP_CORK', 3],
  ['TCP_KEEPIDLE', 4],
  ['TCP_KEEPINTVL', 5],
  ['TCP_KEEPCNT', 6],
  ['TCP_SYNCNT', 7],
  ['TCP_LINGER2', 8],
  ['TCP_DEFER_ACCEPT', 9],
  ['TCP_WINDOW_CLAMP', 10],
  ['TCP_CONGESTION', 13, { maxBytes: 16 }],
  ['TCP_THIN_LINEAR_TIMEOUTS', 16],
  ['TCP_USER_TIMEOUT', 18],
  ['TCP_FASTOPEN', 23],
  ['TCP_NOTSENT_LOWAT', 25],
  ['TCP_SAVE_SYN', 27],
  ['TCP_FASTOPEN_CONNECT', 30],
  ['TCP_FASTOPEN_NO_COOKIE', 34],
  ['TCP_INQ', 36],
  ['TCP_TX_DELAY', 37],
]);

/** linux/netlink.h. */
const OF_NETLINK = rows(SOL_NETLINK, [
  ['NETLINK_PKTINFO', 3],
  ['NETLINK_BROADCAST_ERROR', 4],
  ['NETLINK_NO_ENOBUFS', 5],
  ['NETLINK_LISTEN_ALL_NSID', 8],
  ['NETLINK_CAP_ACK', 10],
  ['NETLINK_EXT_ACK', 11],
  ['NETLINK_GET_STRICT_CHK', 12],
]);

/** SO_PRIORITY stands behind IP_TOS, which changes it; SO_LOCK_FILTER behind everything, since it is final. */
const LAST = rows(SOL_SOCKET, [
  ['SO_PRIORITY', 12],
  ['SO_LOCK_FILTER', 44],
]);

const INET_UDP = [...OF_IP, ...OF_SOCKET, ...OF_UDP, ...LAST];
const INET6_UDP = [...OF_IPV6, ...INET_UDP];
const INET_TCP = [...OF_IP, ...OF_SOCKET, ...OF_TCP, ...LAST];
const INET6_TCP = [...OF_IPV6, ...INET_TCP];

export const UNIX_OPTIONS: readonly SocketOption[] = [...OF_SOCKET, ...LAST];
export const NETLINK_OPTIONS: readonly SocketOption[] = [...OF_SOCKET, ...OF_NETLINK, ...LAST];

/** The options of a UDP or TCP socket, in the order in which they are to be set. */
export function inetOptions(family: 'inet' | 'inet6', transport: 'udp' | 'tcp'): readonly SocketOption[] {
  if (transport === 'udp') return family === 'inet' ? INET_UDP : INET6_UDP;
  return family === 'inet' ? INET_TCP : INET6_TCP;
}
