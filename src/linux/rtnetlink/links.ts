/** Network devices: changes as data for {@link RouteSocket.apply}, and what is there. */
import { ENODEV, KernelError } from '../errno.ts';
import type { Change, RouteSocket } from './socket.ts';
import {
  type Attributes,
  attribute,
  attributeText,
  attributeU32,
  IFF,
  IFLA,
  IFLA_INFO,
  type Message,
  NLM_F,
  nested,
  parseAttributes,
  RTM,
  VETH_INFO_PEER,
} from './wire.ts';

/** struct ifinfomsg: u8 family, u8 pad, u16 type, i32 index, u32 flags, u32 change. */
const IFINFOMSG_BYTES = 16;

function ifinfomsg(index: number, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(IFINFOMSG_BYTES);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

/** A device by name or by index. */
export type LinkRef = string | number;

function linkHeader(link: LinkRef, flags = 0, change = 0): Buffer {
  if (typeof link === 'number') return ifinfomsg(link, flags, change);
  return Buffer.concat([ifinfomsg(0, flags, change), attributeText(IFLA.IFNAME, link)]);
}

/** `02:00:0a:58:00:05` as six bytes. */
export function macBytes(mac: string): Buffer {
  const bytes = Buffer.from(mac.replaceAll(':', ''), 'hex');
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) throw new TypeError(`'${mac}' is not a MAC address`);
  return bytes;
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export type VethEnd = {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Packets that wait for the device; only devices with a queue use it. */
  readonly txQueueLength?: number;
  /** Descriptor of the network namespace that this end is made in; absent: the socket's. */
  readonly netns?: number;
};

function endAttributes(end: VethEnd): Buffer[] {
  const list = [attributeText(IFLA.IFNAME, end.name)];
  if (end.mac !== undefined) list.push(attribute(IFLA.ADDRESS, macBytes(end.mac)));
  if (end.mtu !== undefined) list.push(attributeU32(IFLA.MTU, end.mtu));
  if (end.txQueueLength !== undefined) list.push(attributeU32(IFLA.TXQLEN, end.txQueueLength));
  if (end.netns !== undefined) list.push(attributeU32(IFLA.NET_NS_FD, end.netns));
  return list;
}

/** Makes a pair of virtual Ethernet devices, each end at once in its own network namespace. Both are down. */
export function addVeth(near: VethEnd, far: VethEnd): Change {
  const peer = nested(VETH_INFO_PEER, ifinfomsg(0), ...endAttributes(far));
  const info = nested(IFLA.LINKINFO, attributeText(IFLA_INFO.KIND, 'veth'), nested(IFLA_INFO.DATA, peer));
  return {
    what: `add link ${near.name} (veth, peer ${far.name})`,
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([ifinfomsg(0), ...endAttributes(near), info]),
  };
}

/** Makes a bridge without ports. It is down. */
export function addBridge(name: string): Change {
  const info = nested(IFLA.LINKINFO, attributeText(IFLA_INFO.KIND, 'bridge'));
  return {
    what: `add link ${name} (bridge)`,
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([ifinfomsg(0), attributeText(IFLA.IFNAME, name), info]),
  };
}

/** Of a veth, both ends go. */
export function deleteLink(link: LinkRef): Change {
  return { what: `delete link ${link}`, type: RTM.DELLINK, flags: 0, body: linkHeader(link) };
}

export type LinkSettings = {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  readonly txQueueLength?: number;
  /** Index of a bridge; 0 leaves it. */
  readonly master?: number;
  /** Descriptor of the network namespace to move to. The device goes down and loses its addresses and routes. */
  readonly netns?: number;
  /** New name; the device must be down, and be given by index. */
  readonly name?: string;
};

export function setLink(link: LinkRef, settings: LinkSettings): Change {
  const parts = [linkHeader(link, settings.up === true ? IFF.UP : 0, settings.up === undefined ? 0 : IFF.UP)];
  if (settings.name !== undefined) parts.push(attributeText(IFLA.IFNAME, settings.name));
  if (settings.mac !== undefined) parts.push(attribute(IFLA.ADDRESS, macBytes(settings.mac)));
  if (settings.mtu !== undefined) parts.push(attributeU32(IFLA.MTU, settings.mtu));
  if (settings.txQueueLength !== undefined) parts.push(attributeU32(IFLA.TXQLEN, settings.txQueueLength));
  if (settings.master !== undefined) parts.push(attributeU32(IFLA.MASTER, settings.master));
  if (settings.netns !== undefined) parts.push(attributeU32(IFLA.NET_NS_FD, settings.netns));
  const words = Object.entries(settings).map(([key, value]) => `${key} ${value}`);
  return {
    what: `set link ${link} ${words.join(' ')}`,
    type: RTM.NEWLINK,
    flags: 0,
    body: Buffer.concat(parts),
  };
}

export type Link = {
  readonly index: number;
  readonly name: string;
  /** Empty for devices without a link-layer address. */
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly txQueueLength: number;
  /** `veth`, `bridge`, `tun`…; undefined for a plain device. */
  readonly kind: string | undefined;
  /** Index of the peer of a veth, in the peer's own namespace. */
  readonly peerIndex: number | undefined;
  /** Index of the bridge that it belongs to. */
  readonly master: number | undefined;
};

const textOf = (attributes: Attributes, type: number): string =>
  attributes.get(type)?.toString('utf8').replace(/\0+$/, '') ?? '';

function parseLink(message: Message): Link {
  const attributes = parseAttributes(message.body.subarray(IFINFOMSG_BYTES));
  const info = parseAttributes(attributes.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  return {
    index: message.body.readInt32LE(4),
    name: textOf(attributes, IFLA.IFNAME),
    mac: macText(attributes.get(IFLA.ADDRESS) ?? Buffer.alloc(0)),
    mtu: attributes.get(IFLA.MTU)?.readUInt32LE() ?? 0,
    up: (message.body.readUInt32LE(8) & IFF.UP) !== 0,
    txQueueLength: attributes.get(IFLA.TXQLEN)?.readUInt32LE() ?? 0,
    kind: info.has(IFLA_INFO.KIND) ? textOf(info, IFLA_INFO.KIND) : undefined,
    peerIndex: attributes.get(IFLA.LINK)?.readUInt32LE(),
    master: attributes.get(IFLA.MASTER)?.readUInt32LE(),
  };
}

export function listLinks(socket: RouteSocket): Link[] {
  return socket.dump('list links', RTM.GETLINK, ifinfomsg(0)).map(parseLink);
}

/** @throws KernelError ENODEV when there is no such device. */
export function getLink(socket: RouteSocket, link: LinkRef): Link {
  return parseLink(socket.get(`get link ${link}`, RTM.GETLINK, linkHeader(link)));
}

/** @returns undefined when there is no such device. */
export function findLink(socket: RouteSocket, link: LinkRef): Link | undefined {
  try {
    return getLink(socket, link);
  } catch (thrown) {
    if (thrown instanceof KernelError && thrown.errno === ENODEV) return undefined;
    throw thrown;
  }
}
