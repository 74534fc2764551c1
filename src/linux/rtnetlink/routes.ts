/** IPv4 routes. */
import { ipv4Bytes, ipv4Text } from '../../base/ipv4.ts';
import type { Change, RouteSocket } from './socket.ts';
import {
  AF,
  attribute,
  attributeU32,
  type Message,
  NLM_F,
  parseAttributes,
  RT_SCOPE,
  RT_TABLE,
  RTA,
  RTM,
  RTN,
  RTNH_F_ONLINK,
  RTPROT,
} from './wire.ts';

/** struct rtmsg: u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags. */
const RTMSG_BYTES = 12;

const TYPES = {
  unicast: RTN.UNICAST,
  local: RTN.LOCAL,
  broadcast: RTN.BROADCAST,
  multicast: RTN.MULTICAST,
  blackhole: RTN.BLACKHOLE,
  unreachable: RTN.UNREACHABLE,
  prohibit: RTN.PROHIBIT,
} as const;

export type RouteType = keyof typeof TYPES;

export type Route = {
  /** `10.88.0.5/32`, a bare address (a /32), or `default`. */
  readonly destination: string;
  /** Absent: unicast. A blackhole drops silently, an unreachable route answers with ICMP. */
  readonly type?: RouteType;
  /** Index of the device. Unicast needs it, or a gateway that is on a known network. */
  readonly link?: number;
  readonly gateway?: string;
  /** The gateway is behind `link` although no route says so. */
  readonly onLink?: boolean;
  /** Source address of what this machine sends itself. */
  readonly preferredSource?: string;
  /** Number of the routing table; absent: main (254). */
  readonly table?: number;
  readonly metric?: number;
  /** Who has put it there (`proto` of ip-route(8)): 0 to 255; absent: 3 (boot), as ip-route(8) takes it to be. */
  readonly protocol?: number;
};

function parseDestination(text: string): { bytes: Buffer; prefixLength: number } {
  if (text === 'default') return { bytes: Buffer.alloc(4), prefixLength: 0 };
  const [address = '', prefix = '32'] = text.split('/');
  const prefixLength = Number(prefix);
  if (!/^\d+$/.test(prefix) || prefixLength > 32) throw new TypeError(`'${text}' is not an IPv4 network`);
  return { bytes: ipv4Bytes(address), prefixLength };
}

function scopeOf(route: Route): number {
  if (route.type === 'local') return RT_SCOPE.HOST;
  const direct = (route.type ?? 'unicast') === 'unicast' && route.gateway === undefined;
  return direct ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE;
}

function rtmsg(fields: {
  prefixLength?: number;
  table?: number;
  scope?: number;
  type?: number;
  flags?: number;
}): Buffer {
  const header = Buffer.alloc(RTMSG_BYTES);
  header.writeUInt8(AF.INET, 0);
  header.writeUInt8(fields.prefixLength ?? 0, 1);
  // Tables above 255 do not fit the byte: RTA_TABLE carries the number.
  const table = fields.table ?? RT_TABLE.MAIN;
  header.writeUInt8(table > 255 ? RT_TABLE.UNSPEC : table, 4);
  header.writeUInt8(fields.scope ?? 0, 6);
  header.writeUInt8(fields.type ?? 0, 7);
  header.writeUInt32LE(fields.flags ?? 0, 8);
  return header;
}

function body(route: Route, protocol: number): Buffer {
  const { bytes, prefixLength } = parseDestination(route.destination);
  const table = route.table ?? RT_TABLE.MAIN;
  const type = TYPES[route.type ?? 'unicast'];
  const flags = route.onLink === true ? RTNH_F_ONLINK : 0;
  const header = rtmsg({ prefixLength, table, scope: scopeOf(route), type, flags });
  header.writeUInt8(protocol, 5);
  const parts = [header, attributeU32(RTA.TABLE, table)];
  if (prefixLength > 0) parts.push(attribute(RTA.DST, bytes));
  if (route.gateway !== undefined) parts.push(attribute(RTA.GATEWAY, ipv4Bytes(route.gateway)));
  if (route.link !== undefined) parts.push(attributeU32(RTA.OIF, route.link));
  if (route.preferredSource !== undefined) parts.push(attribute(RTA.PREFSRC, ipv4Bytes(route.preferredSource)));
  if (route.metric !== undefined) parts.push(attributeU32(RTA.PRIORITY, route.metric));
  return Buffer.concat(parts);
}

const words = (route: Route): string =>
  `route ${route.type ?? ''} ${route.destination}${route.table === undefined ? '' : ` table ${route.table}`}`;

/** Adds the route, or puts it in the place of the one with the same destination, metric and table. No packet between
 * the two finds no route. */
export function replaceRoute(route: Route): Change {
  return {
    what: `replace ${words(route)}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    body: body(route, route.protocol ?? RTPROT.BOOT),
  };
}

/** Fails with EEXIST when there is a route of this destination, metric and table. */
export function addRoute(route: Route): Change {
  return {
    what: `add ${words(route)}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: body(route, route.protocol ?? RTPROT.BOOT),
  };
}

/** What is given must match; what is absent matches anything. Fails with ESRCH when there is none. */
export function deleteRoute(route: Route): Change {
  const change = body(route, route.protocol ?? RTPROT.UNSPEC);
  if (route.type === undefined) change.writeUInt8(0, 7);
  // RT_SCOPE_NOWHERE (255) is the kernel's "any scope" here.
  change.writeUInt8(255, 6);
  return { what: `delete ${words(route)}`, type: RTM.DELROUTE, flags: 0, body: change };
}

/** A route that was found. `type` is a {@link RouteType}, or the number of one that has no name here. */
export type FoundRoute = Omit<Route, 'type' | 'table' | 'protocol'> & {
  readonly type: string;
  readonly table: number;
  readonly protocol: number;
};

function parseRoute(message: Message): FoundRoute {
  const attributes = parseAttributes(message.body.subarray(RTMSG_BYTES));
  const prefixLength = message.body.readUInt8(1);
  const typeNumber = message.body.readUInt8(7);
  const destination = attributes.get(RTA.DST);
  const link = attributes.get(RTA.OIF)?.readUInt32LE();
  const gateway = attributes.get(RTA.GATEWAY);
  const source = attributes.get(RTA.PREFSRC);
  const metric = attributes.get(RTA.PRIORITY)?.readUInt32LE();
  return {
    destination: destination === undefined ? 'default' : `${ipv4Text(destination)}/${prefixLength}`,
    type: Object.entries(TYPES).find(([, number]) => number === typeNumber)?.[0] ?? String(typeNumber),
    table: attributes.get(RTA.TABLE)?.readUInt32LE() ?? message.body.readUInt8(4),
    protocol: message.body.readUInt8(5),
    ...(link === undefined ? {} : { link }),
    ...(gateway === undefined ? {} : { gateway: ipv4Text(gateway) }),
    ...(source === undefined ? {} : { preferredSource: ipv4Text(source) }),
    ...(metric === undefined ? {} : { metric }),
    ...((message.body.readUInt32LE(8) & RTNH_F_ONLINK) === 0 ? {} : { onLink: true }),
  };
}

/** The IPv4 routes of all tables, the kernel's own (local, broadcast) included. */
export function listRoutes(socket: RouteSocket): FoundRoute[] {
  return socket.dump('list routes', RTM.GETROUTE, rtmsg({ table: RT_TABLE.UNSPEC })).map(parseRoute);
}

/** The route that a packet to `address` would take, as `ip route get` says it. @throws KernelError when it has none. */
export function lookUpRoute(socket: RouteSocket, address: string): FoundRoute {
  const header = rtmsg({ prefixLength: 32, table: RT_TABLE.UNSPEC });
  const question = Buffer.concat([header, attribute(RTA.DST, ipv4Bytes(address))]);
  return parseRoute(socket.get(`look up route to ${address}`, RTM.GETROUTE, question));
}
