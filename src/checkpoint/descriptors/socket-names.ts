/** How sockets are called in refusals. */
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  AF_PACKET,
  AF_UNIX,
  AF_VSOCK,
  decodeInetAddress,
  localAddress,
  remoteAddress,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  type SocketType,
} from '../../linux/sockets.ts';

const DOMAINS: Readonly<Record<number, string>> = {
  [AF_UNIX]: 'unix',
  [AF_INET]: 'IPv4',
  [AF_INET6]: 'IPv6',
  [AF_NETLINK]: 'netlink',
  [AF_PACKET]: 'packet',
  [AF_VSOCK]: 'vsock',
};
const TYPES: Readonly<Record<number, string>> = {
  [SOCK_STREAM]: 'stream',
  [SOCK_DGRAM]: 'datagram',
  [SOCK_RAW]: 'raw',
  [SOCK_SEQPACKET]: 'seqpacket',
};

/** `10.0.0.1:80` or `[fe80::1]:80`. @param raw a struct sockaddr_in or sockaddr_in6. */
export function endpointText(raw: Buffer): string {
  const { address, port } = decodeInetAddress(raw);
  if (address.length === 4) return `${address.join('.')}:${port}`;
  return `[${ipv6Text(address)}]:${port}`;
}

/** The form of RFC 5952. */
function ipv6Text(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => address.readUInt16BE(index * 2).toString(16));
  const runs = [...groups.join(':').matchAll(/\b0(?::0\b)+/g)].map(([run]) => run);
  const longest = runs.toSorted((a, b) => b.length - a.length)[0];
  if (longest === undefined) return groups.join(':');
  const [before, after] = splitAround(groups.join(':'), longest);
  return `${before.replace(/:$/, '')}::${after.replace(/^:/, '')}`;
}

function splitAround(text: string, part: string): [string, string] {
  const at = text.search(new RegExp(`\\b${part}\\b`));
  return [text.slice(0, at), text.slice(at + part.length)];
}

/** A socket of a kind that cannot be moved: `a unix stream socket bound to /run/log.sock`. */
export function socketText(socket: number, { domain, type, protocol }: SocketType): string {
  const family = DOMAINS[domain] ?? `family ${domain}`;
  const what = `${family} ${TYPES[type] ?? `type ${type}`} socket`;
  if (domain === AF_UNIX) {
    const local = unixName(localAddress(socket));
    const remote = remoteAddress(socket);
    const bound = local === '' ? '' : ` bound to ${local}`;
    const connected = remote === null ? '' : ` connected to ${unixName(remote) || 'an unnamed peer'}`;
    return `a ${what}${bound}${connected}`;
  }
  const article = domain === AF_INET || domain === AF_INET6 ? 'an' : 'a';
  return `${article} ${what} of protocol ${protocol}`;
}

/** Of a struct sockaddr_un; abstract names with an at sign, as ss(8) writes them. */
function unixName(raw: Buffer): string {
  const path = raw.subarray(2);
  if (path.length === 0) return '';
  if (path[0] === 0) return `@${path.toString('latin1', 1)}`;
  const end = path.indexOf(0);
  return path.toString('utf8', 0, end < 0 ? path.length : end);
}
