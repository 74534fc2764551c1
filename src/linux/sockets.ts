/** Sockets of this process: addresses, options, state. Socket addresses are struct sockaddr_in and sockaddr_in6. */
import { ENOTCONN, EOPNOTSUPP, KernelError } from './errno.ts';
import { addressOf, syscall, trySyscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const AF_VSOCK = 40;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_SEQPACKET = 5;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const SOL_SOCKET = 1;
export const SOL_IP = 0;
export const SOL_IPV6 = 41;
export const SOL_NETLINK = 270;
export const SHUT_RD = 0;
export const SHUT_RDWR = 2;

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SO_TYPE = 3;
const SO_ATTACH_FILTER = 26;
/** Of a length of 0 it tells how many instructions there are. */
export const SO_GET_FILTER = 26;
const SO_PROTOCOL = 38;
const SO_DOMAIN = 39;
export const TCP_INFO = 11;
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;
/** struct ifreq: a name of 16 bytes and a union of 24. */
const IFREQ_BYTES = 40;
const IFREQ_VALUE = 16;
const MAX_SOCKADDR_BYTES = 128;

export type InetAddress = {
  /** 4 or 16 bytes, network order. */
  readonly address: Buffer;
  readonly port: number;
  /** 0 for IPv4. */
  readonly flowInfo: number;
  /** Interface index of a link-local IPv6 address; else 0. */
  readonly scopeId: number;
};

/** @returns the option's value, as long as the kernel made it, or a negative errno. */
export function tryGetSocketOption(socket: number, level: number, option: number, maxBytes: number): Buffer | number {
  const value = Buffer.alloc(maxBytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(maxBytes, 0);
  const result = trySyscall(SYS.getsockopt, socket, level, option, value, length);
  return result < 0 ? result : value.subarray(0, length.readUInt32LE(0));
}

function getNumber(socket: number, option: number, name: string): number {
  const value = tryGetSocketOption(socket, SOL_SOCKET, option, 4);
  if (typeof value === 'number') throw new KernelError(`getsockopt ${name}`, -value);
  return value.readInt32LE(0);
}

/** @returns 0 or a negative errno. */
export function trySetSocketOption(socket: number, level: number, option: number, value: Uint8Array): number {
  return trySyscall(SYS.setsockopt, socket, level, option, value, value.length);
}

export type SocketType = { readonly domain: number; readonly type: number; readonly protocol: number };

export function socketType(socket: number): SocketType {
  return {
    domain: getNumber(socket, SO_DOMAIN, 'SO_DOMAIN'),
    type: getNumber(socket, SO_TYPE, 'SO_TYPE'),
    protocol: getNumber(socket, SO_PROTOCOL, 'SO_PROTOCOL'),
  };
}

/** The address that a socket is bound to, as raw struct sockaddr. */
export function localAddress(socket: number): Buffer {
  return addressOfSocket(socket, SYS.getsockname) ?? Buffer.alloc(0);
}

/** The address that a socket is connected to; null: it is not, or is of a kind that never is. */
export function remoteAddress(socket: number): Buffer | null {
  return addressOfSocket(socket, SYS.getpeername);
}

function addressOfSocket(socket: number, call: number): Buffer | null {
  const address = Buffer.alloc(MAX_SOCKADDR_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(MAX_SOCKADDR_BYTES, 0);
  const result = trySyscall(call, socket, address, length);
  if (result === -ENOTCONN || result === -EOPNOTSUPP) return null;
  if (result < 0) throw new KernelError(call === SYS.getsockname ? 'getsockname' : 'getpeername', -result);
  return address.subarray(0, Math.min(length.readUInt32LE(0), MAX_SOCKADDR_BYTES));
}

/** @param raw a struct sockaddr_in or sockaddr_in6. */
export function decodeInetAddress(raw: Buffer): InetAddress {
  const port = raw.readUInt16BE(2);
  if (raw.readUInt16LE(0) === AF_INET) {
    return { address: Buffer.from(raw.subarray(4, 8)), port, flowInfo: 0, scopeId: 0 };
  }
  return {
    address: Buffer.from(raw.subarray(8, 24)),
    port,
    flowInfo: raw.readUInt32BE(4),
    scopeId: raw.readUInt32LE(24),
  };
}

export function encodeInetAddress({ address, port, flowInfo, scopeId }: InetAddress): Buffer {
  const raw = Buffer.alloc(address.length === 4 ? 16 : 28);
  raw.writeUInt16LE(address.length === 4 ? AF_INET : AF_INET6, 0);
  raw.writeUInt16BE(port, 2);
  if (address.length === 4) {
    raw.set(address, 4);
  } else {
    raw.writeUInt32BE(flowInfo, 4);
    raw.set(address, 8);
    raw.writeUInt32LE(scopeId, 24);
  }
  return raw;
}

export function bindSocket(socket: number, address: Buffer): void {
  syscall('bind', SYS.bind, socket, address, address.length);
}

/** Of a datagram socket: nothing is sent. */
export function connectSocket(socket: number, address: Buffer): void {
  syscall('connect', SYS.connect, socket, address, address.length);
}

export function listenOn(socket: number, backlog: number): void {
  syscall('listen', SYS.listen, socket, backlog);
}

/** Sends without waiting: all bytes of a stream, or one message. @throws KernelError EAGAIN: there is no room. */
export function sendNow(socket: number, bytes: Uint8Array): void {
  let done = 0;
  do {
    const part = bytes.subarray(done);
    done += syscall('send', SYS.sendto, socket, part, part.length, MSG_DONTWAIT | MSG_NOSIGNAL, null, 0);
  } while (done < bytes.length);
}

/** ENOTCONN is no failure: the kernel has shut an unconnected datagram socket all the same. */
export function shutDown(socket: number, how: number): void {
  const result = trySyscall(SYS.shutdown, socket, how);
  if (result < 0 && result !== -ENOTCONN) throw new KernelError('shutdown', -result);
}

type TcpState = {
  /** `TCP_LISTEN` and the rest of net/tcp_states.h. */
  readonly state: number;
  /** Of a listening socket: connections that wait to be accepted, and how many may. */
  readonly waiting: number;
  readonly backlog: number;
};
export const TCP_CLOSE = 7;
export const TCP_LISTEN = 10;

export function tcpState(socket: number): TcpState {
  const info = tryGetSocketOption(socket, IPPROTO_TCP, TCP_INFO, 104);
  if (typeof info === 'number') throw new KernelError('getsockopt TCP_INFO', -info);
  // linux/tcp.h: a listening socket's queue is reported in tcpi_unacked and tcpi_sacked.
  return { state: info.readUInt8(0), waiting: info.readUInt32LE(24), backlog: info.readUInt32LE(28) };
}

/** The classic BPF program attached to a socket, 8 bytes an instruction; null: another kind of program is attached. */
export function getSocketFilter(socket: number): Buffer | null {
  const length = Buffer.alloc(4);
  // Lengths are counted in instructions here; 0 asks how many there are.
  const count = trySyscall(SYS.getsockopt, socket, SOL_SOCKET, SO_GET_FILTER, null, length);
  if (count < 0) return null;
  const instructions = length.readUInt32LE(0);
  const program = Buffer.alloc(instructions * 8);
  if (instructions > 0) {
    syscall('getsockopt SO_GET_FILTER', SYS.getsockopt, socket, SOL_SOCKET, SO_GET_FILTER, program, length);
  }
  return program;
}

/** @param program classic BPF, 8 bytes an instruction; the caller holds on to it for the time of the call. */
export function attachSocketFilter(socket: number, program: Uint8Array): void {
  // struct sock_fprog: u16 length, padding, pointer
  const description = Buffer.alloc(16);
  description.writeUInt16LE(program.length / 8, 0);
  description.writeBigUInt64LE(addressOf(program), 8);
  syscall('SO_ATTACH_FILTER', SYS.setsockopt, socket, SOL_SOCKET, SO_ATTACH_FILTER, description, 16);
}

/** The name of an interface in the socket's own network namespace; empty for index 0. */
export function interfaceName(socket: number, index: number): string {
  if (index === 0) return '';
  const request = Buffer.alloc(IFREQ_BYTES);
  request.writeInt32LE(index, IFREQ_VALUE);
  syscall(`name of interface ${index}`, SYS.ioctl, socket, SIOCGIFNAME, request);
  return request.toString('utf8', 0, request.indexOf(0));
}

/** The index of an interface in the socket's own network namespace; 0 for the empty name. */
export function interfaceIndex(socket: number, name: string): number {
  if (name === '') return 0;
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 0, IFREQ_VALUE - 1, 'utf8');
  syscall(`index of interface ${name}`, SYS.ioctl, socket, SIOCGIFINDEX, request);
  return request.readInt32LE(IFREQ_VALUE);
}
