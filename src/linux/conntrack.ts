/**
 * Connection tracking entries over ctnetlink (linux/netfilter/nfnetlink_conntrack.h): what the kernel remembers of a flow
 * and of its address translation. A translation rule is only asked for the first packet of a flow, so an entry outlives
 * the rule that made it.
 */
import { ipv4Text } from '../base/ipv4.ts';
import { ENOENT } from './errno.ts';
import { NetlinkSocket } from './rtnetlink/socket.ts';
import { AF, type Attributes, attribute, type Message, parseAttributes } from './rtnetlink/wire.ts';

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT = { GET: 1, DELETE: 2 } as const;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, ID: 12 } as const;
const CTA_TUPLE = { IP: 1, PROTO: 2 } as const;
const CTA_IP = { V4_SRC: 1, V4_DST: 2 } as const;
const CTA_PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
/** struct nfgenmsg: u8 family, u8 version, be16 resource. */
const NFGENMSG_BYTES = 4;
const NLA_F_NESTED = 0x8000;

const IP_PROTOCOLS: Readonly<Record<string, number>> = { udp: 17, tcp: 6 };

const messageType = (message: number): number => (NFNL_SUBSYS_CTNETLINK << 8) | message;

function nfgenmsg(): Buffer {
  const header = Buffer.alloc(NFGENMSG_BYTES);
  header.writeUInt8(AF.INET, 0);
  return header;
}

export type FlowEnd = { readonly address: string; readonly port: number };

/** Where flows lead: an address, a port of a protocol (`udp`, `tcp`). */
export type ServedEnd = FlowEnd & { readonly protocol: string };

export type TrackedFlow = {
  /** Number of the IP protocol: 17 is UDP. */
  readonly protocol: number;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Where answers come from: another than `destination` where the flow is translated. */
  readonly answeredBy: FlowEnd;
  /** What {@link ConntrackSocket.forget} needs of it. */
  readonly identity: readonly Buffer[];
};

type Tuple = { readonly protocol: number; readonly source: FlowEnd; readonly destination: FlowEnd };

function parseTuple(bytes: Buffer | undefined): Tuple | undefined {
  if (bytes === undefined) return undefined;
  const parts = parseAttributes(bytes);
  const inside = (type: number): Attributes => parseAttributes(parts.get(type) ?? Buffer.alloc(0));
  const ip = inside(CTA_TUPLE.IP);
  const transport = inside(CTA_TUPLE.PROTO);
  const source = ip.get(CTA_IP.V4_SRC);
  const destination = ip.get(CTA_IP.V4_DST);
  if (source === undefined || destination === undefined) return undefined;
  const port = (type: number): number => transport.get(type)?.readUInt16BE() ?? 0;
  return {
    protocol: transport.get(CTA_PROTO.NUM)?.readUInt8() ?? 0,
    source: { address: ipv4Text(source), port: port(CTA_PROTO.SRC_PORT) },
    destination: { address: ipv4Text(destination), port: port(CTA_PROTO.DST_PORT) },
  };
}

function parseFlow(message: Message): TrackedFlow[] {
  const attributes = parseAttributes(message.body.subarray(NFGENMSG_BYTES));
  const original = attributes.get(CTA.TUPLE_ORIG);
  const tuple = parseTuple(original);
  const reply = parseTuple(attributes.get(CTA.TUPLE_REPLY));
  if (original === undefined || tuple === undefined || reply === undefined) return [];
  const id = attributes.get(CTA.ID);
  // The id keeps the deletion from hitting a newer flow of the same ends.
  const identity = [attribute(CTA.TUPLE_ORIG | NLA_F_NESTED, original)];
  if (id !== undefined) identity.push(attribute(CTA.ID, id));
  return [{ ...tuple, answeredBy: reply.source, identity }];
}

/** In the network namespace that the calling thread was in when it was made. The caller closes it. */
export class ConntrackSocket extends NetlinkSocket {
  constructor() {
    super(NETLINK_NETFILTER);
  }

  /** The tracked IPv4 flows. */
  list(): TrackedFlow[] {
    return this.dump('list tracked flows', messageType(IPCTNL_MSG_CT.GET), nfgenmsg()).flatMap(parseFlow);
  }

  /**
   * Flows that began before a translation changed go on as they began, for as long as packets come: a client that asked
   * too early would never be heard.
   */
  forgetFlowsTo(ends: readonly ServedEnd[]): void {
    for (const flow of this.list()) {
      const { destination } = flow;
      const isOfThese = ends.some(
        ({ address, port, protocol }) =>
          flow.protocol === IP_PROTOCOLS[protocol] && destination.address === address && destination.port === port,
      );
      if (isOfThese) this.forget(flow);
    }
  }

  /** The next packet of the flow is the first of a new one. No failure where it is gone already. */
  forget(flow: TrackedFlow): void {
    const body = Buffer.concat([nfgenmsg(), ...flow.identity]);
    const { address, port } = flow.destination;
    const what = `forget the flow to ${address}:${port}`;
    this.applyUnless({ what, type: messageType(IPCTNL_MSG_CT.DELETE), flags: 0, body }, ENOENT);
  }
}
