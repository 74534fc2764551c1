/** IPv4 neighbour entries: which link-layer address an IPv4 address has on a device. */
import { ipv4Bytes, ipv4Text } from '../../base/ipv4.ts';
import { macBytes, macText } from './links.ts';
import type { Change, RouteSocket } from './socket.ts';
import { AF, attribute, NDA, NLM_F, NUD, parseAttributes, RTM } from './wire.ts';

/** struct ndmsg: u8 family, 3 bytes of padding, i32 index, u16 state, u8 flags, u8 type. */
const NDMSG_BYTES = 12;

function ndmsg(link: number, state: number): Buffer {
  const header = Buffer.alloc(NDMSG_BYTES);
  header.writeUInt8(AF.INET, 0);
  header.writeInt32LE(link, 4);
  header.writeUInt16LE(state, 8);
  return header;
}

export type Neighbour = {
  /** Index of the device. */
  readonly link: number;
  readonly address: string;
  readonly mac: string;
  readonly permanent: boolean;
};

/** An entry that is never asked for and never forgotten. */
export function replacePermanentNeighbour(entry: { link: number; address: string; mac: string }): Change {
  return {
    what: `replace neighbour ${entry.address} of link ${entry.link}`,
    type: RTM.NEWNEIGH,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      ndmsg(entry.link, NUD.PERMANENT),
      attribute(NDA.DST, ipv4Bytes(entry.address)),
      attribute(NDA.LLADDR, macBytes(entry.mac)),
    ]),
  };
}

export function deleteNeighbour(entry: { link: number; address: string }): Change {
  return {
    what: `delete neighbour ${entry.address} of link ${entry.link}`,
    type: RTM.DELNEIGH,
    flags: 0,
    body: Buffer.concat([ndmsg(entry.link, 0), attribute(NDA.DST, ipv4Bytes(entry.address))]),
  };
}

export function listNeighbours(socket: RouteSocket): Neighbour[] {
  return socket.dump('list neighbours', RTM.GETNEIGH, ndmsg(0, 0)).flatMap((message) => {
    const attributes = parseAttributes(message.body.subarray(NDMSG_BYTES));
    const address = attributes.get(NDA.DST);
    if (address === undefined) return [];
    return [
      {
        link: message.body.readInt32LE(4),
        address: ipv4Text(address),
        mac: macText(attributes.get(NDA.LLADDR) ?? Buffer.alloc(0)),
        permanent: (message.body.readUInt16LE(8) & NUD.PERMANENT) !== 0,
      },
    ];
  });
}
