/** IPv4 addresses of devices. */
import { ipv4Bytes, ipv4Text } from '../../base/ipv4.ts';
import type { Change, RouteSocket } from './socket.ts';
import { AF, attribute, IFA, NLM_F, parseAttributes, RT_SCOPE, RTM } from './wire.ts';

/** struct ifaddrmsg: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index. */
const IFADDRMSG_BYTES = 8;

function ifaddrmsg(prefixLength: number, index: number, scope: number): Buffer {
  const header = Buffer.alloc(IFADDRMSG_BYTES);
  header.writeUInt8(AF.INET, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(scope, 3);
  header.writeUInt32LE(index, 4);
  return header;
}

export type Address = {
  /** Index of the device. */
  readonly link: number;
  readonly address: string;
  readonly prefixLength: number;
  /** Valid on its link alone: never chosen as the source of a packet that leaves it. */
  readonly linkScope?: boolean;
};

function body(address: Address): Buffer {
  const bytes = ipv4Bytes(address.address);
  const scope = address.linkScope === true ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE;
  return Buffer.concat([
    ifaddrmsg(address.prefixLength, address.link, scope),
    attribute(IFA.LOCAL, bytes),
    attribute(IFA.ADDRESS, bytes),
  ]);
}

const words = (address: Address): string =>
  `address ${address.address}/${address.prefixLength} of link ${address.link}`;

/** Fails with EEXIST when the device has it already. */
export function addAddress(address: Address): Change {
  return {
    what: `add ${words(address)}`,
    type: RTM.NEWADDR,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: body(address),
  };
}

/** Fails with EADDRNOTAVAIL when the device does not have it. */
export function deleteAddress(address: Address): Change {
  return { what: `delete ${words(address)}`, type: RTM.DELADDR, flags: 0, body: body(address) };
}

export function listAddresses(socket: RouteSocket): Address[] {
  return socket.dump('list addresses', RTM.GETADDR, ifaddrmsg(0, 0, 0)).flatMap((message) => {
    const attributes = parseAttributes(message.body.subarray(IFADDRMSG_BYTES));
    const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
    if (bytes === undefined) return [];
    return [
      {
        link: message.body.readUInt32LE(4),
        address: ipv4Text(bytes),
        prefixLength: message.body.readUInt8(1),
        linkScope: message.body.readUInt8(3) === RT_SCOPE.LINK,
      },
    ];
  });
}
