/**
 * The binary form of NETLINK_ROUTE messages: numbers as in linux/netlink.h, linux/rtnetlink.h, linux/if_link.h,
 * linux/if_addr.h, linux/neighbour.h and linux/fib_rules.h, and the encoding of headers and attributes. Bytes only, no
 * kernel. Everything in a netlink message is in host order (little-endian here), except what is on the wire of a network
 * as well: addresses and ports.
 */
import { assert } from '../../base/assert.ts';

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
} as const;

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3 } as const;

/** Flags of a request. REPLACE and EXCL belong to NEW requests, DUMP (ROOT|MATCH) to GET requests. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  ECHO: 0x8,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** In an answer: attributes of the extended acknowledgement follow. */
  ACK_TLVS: 0x200,
  /** In an answer: the request that failed is given by its header alone. */
  CAPPED: 0x100,
} as const;

export const AF = { UNSPEC: 0, INET: 2, INET6: 10 } as const;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  TXQLEN: 13,
  OPERSTATE: 16,
  LINKINFO: 18,
  NET_NS_PID: 19,
  NET_NS_FD: 28,
  LINK_NETNSID: 37,
} as const;
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
export const VETH_INFO_PEER = 1;
export const IFF = { UP: 0x1, LOOPBACK: 0x8, RUNNING: 0x40, NOARP: 0x80 } as const;

export const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, FLAGS: 8 } as const;

export const RTA = {
  DST: 1,
  SRC: 2,
  IIF: 3,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  TABLE: 15,
} as const;
export const RT_TABLE = { UNSPEC: 0, DEFAULT: 253, MAIN: 254, LOCAL: 255 } as const;
export const RTN = {
  UNICAST: 1,
  LOCAL: 2,
  BROADCAST: 3,
  MULTICAST: 5,
  BLACKHOLE: 6,
  UNREACHABLE: 7,
  PROHIBIT: 8,
} as const;
export const RT_SCOPE = { UNIVERSE: 0, LINK: 253, HOST: 254 } as const;
export const RTPROT = { UNSPEC: 0, KERNEL: 2, BOOT: 3, STATIC: 4 } as const;
export const RTNH_F_ONLINK = 4;

export const NDA = { DST: 1, LLADDR: 2 } as const;
export const NUD = { REACHABLE: 0x02, STALE: 0x04, FAILED: 0x20, NOARP: 0x40, PERMANENT: 0x80 } as const;

export const FRA = { DST: 1, SRC: 2, IIFNAME: 3, PRIORITY: 6, FWMARK: 10, TABLE: 15, FWMASK: 16, OIFNAME: 17 } as const;
export const FR_ACT = { TO_TBL: 1, UNREACHABLE: 7, PROHIBIT: 8, BLACKHOLE: 6 } as const;

const NLMSGERR_ATTR_MSG = 1;

const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the type's upper bits. */
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

const align4 = (length: number): number => (length + 3) & ~3;

/** One attribute: its type, and its value with padding. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const length = ATTRIBUTE_HEADER_BYTES + value.length;
  const buffer = Buffer.alloc(align4(length));
  buffer.writeUInt16LE(length, 0);
  buffer.writeUInt16LE(type, 2);
  buffer.set(value, ATTRIBUTE_HEADER_BYTES);
  return buffer;
}

export function attributeU32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** A name as attributes carry it: with a final NUL. */
export function attributeText(type: number, text: string): Buffer {
  return attribute(type, Buffer.from(`${text}\0`, 'utf8'));
}

/** @param inside attributes, or a fixed header followed by attributes, already encoded. */
export function nested(type: number, ...inside: readonly Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(inside));
}

export type Attributes = ReadonlyMap<number, Buffer>;

/** Attributes by type, as views. A repeated type keeps its last value. Stops at what cannot be an attribute. */
export function parseAttributes(bytes: Buffer): Attributes {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + ATTRIBUTE_HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & NLA_TYPE_MASK, bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += align4(length);
  }
  return found;
}

/** A whole message. `port` 0 lets the kernel fill in the socket's own. */
export function encodeMessage(type: number, flags: number, sequence: number, body: Uint8Array): Buffer {
  const length = HEADER_BYTES + body.length;
  const buffer = Buffer.alloc(align4(length));
  buffer.writeUInt32LE(length, 0);
  buffer.writeUInt16LE(type, 4);
  buffer.writeUInt16LE(flags, 6);
  buffer.writeUInt32LE(sequence, 8);
  buffer.set(body, HEADER_BYTES);
  return buffer;
}

export type Message = {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
};

/** The messages of one datagram from the kernel; their bodies are views of it. */
export function parseMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at + HEADER_BYTES <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    assert(length >= HEADER_BYTES && at + length <= datagram.length, 'a netlink message of impossible length');
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + HEADER_BYTES, at + length),
    });
    at += align4(length);
  }
  return messages;
}

export type Acknowledgement = {
  /** 0, or a positive errno. */
  readonly errno: number;
  /** The kernel's own words, where it has some. */
  readonly explanation: string | undefined;
};

/** Reads an NLMSG_ERROR: i32 error, the request's header (and body, unless capped), attributes. */
export function parseAcknowledgement(message: Message): Acknowledgement {
  const errno = -message.body.readInt32LE(0);
  if ((message.flags & NLM_F.ACK_TLVS) === 0) return { errno, explanation: undefined };
  const requestBytes = (message.flags & NLM_F.CAPPED) === 0 ? align4(message.body.readUInt32LE(4)) : HEADER_BYTES;
  const text = parseAttributes(message.body.subarray(4 + requestBytes)).get(NLMSGERR_ATTR_MSG);
  return { errno, explanation: text?.toString('utf8').replace(/\0+$/, '') };
}
