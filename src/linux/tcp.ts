/**
 * TCP sockets without libuv, for threads that block in system calls. Every descriptor is non-blocking and close-on-exec;
 * the caller closes it with closeDescriptor. Sockets belong to the network namespace of the thread that makes them.
 */
import { assert } from '../base/assert.ts';
import {
  EAGAIN,
  ECONNABORTED,
  ECONNREFUSED,
  ECONNRESET,
  EHOSTUNREACH,
  EINPROGRESS,
  EINTR,
  ENETUNREACH,
  EPIPE,
  ETIMEDOUT,
  KernelError,
} from './errno.ts';
import { addressOf, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import {
  AF_INET,
  AF_INET6,
  bindSocket,
  decodeInetAddress,
  encodeInetAddress,
  type InetAddress,
  IPPROTO_TCP,
  listenOn,
  localAddress,
  SOCK_STREAM,
  SOL_SOCKET,
  tryGetSocketOption,
  trySetSocketOption,
} from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_KEEPALIVE = 9;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_USER_TIMEOUT = 18;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
/** struct msghdr and struct iovec of x86-64. */
const MSGHDR_BYTES = 56;
const IOV_BYTES = 16;

/** What a broken connection fails with, whichever end noticed. */
const BROKEN: readonly number[] = [ECONNRESET, EPIPE, ETIMEDOUT, ECONNREFUSED, ECONNABORTED, EHOSTUNREACH, ENETUNREACH];

export function isBrokenConnection(error: unknown): boolean {
  return error instanceof KernelError && BROKEN.includes(error.errno);
}

export type TcpAddress = Pick<InetAddress, 'address' | 'port'>;

const raw = ({ address, port }: TcpAddress): Buffer => encodeInetAddress({ address, port, flowInfo: 0, scopeId: 0 });

export type TcpTuning = {
  /** Of each direction. More than the system's limit needs CAP_NET_ADMIN and is cut to the limit without it. */
  readonly bufferBytes: number;
  /** A peer that acknowledges nothing for so long is dead, whether something is being sent or not. */
  readonly silenceMs: number;
};

function setNumber(socket: number, level: number, option: number, value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return trySetSocketOption(socket, level, option, bytes);
}

/** Before connect and listen: the window's scale is fixed with the first segment. */
function openTcp(address: TcpAddress, { bufferBytes, silenceMs }: TcpTuning): number {
  const domain = address.address.length === 4 ? AF_INET : AF_INET6;
  const socket = syscall('socket(TCP)', SYS.socket, domain, SOCK_STREAM | O.NONBLOCK | O.CLOEXEC, IPPROTO_TCP);
  setNumber(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  if (setNumber(socket, SOL_SOCKET, SO_SNDBUFFORCE, bufferBytes) < 0)
    setNumber(socket, SOL_SOCKET, SO_SNDBUF, bufferBytes);
  if (setNumber(socket, SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes) < 0)
    setNumber(socket, SOL_SOCKET, SO_RCVBUF, bufferBytes);
  const seconds = Math.max(1, Math.ceil(silenceMs / 4000));
  setNumber(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  setNumber(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  setNumber(socket, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  setNumber(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  setNumber(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, silenceMs);
  return socket;
}

/** Begins to connect: the socket becomes writable when that has succeeded or failed ({@link connectionError} tells). */
export function startConnect(address: TcpAddress, tuning: TcpTuning): number {
  const socket = openTcp(address, tuning);
  const target = raw(address);
  const result = trySyscall(SYS.connect, socket, target, target.length);
  if (result < 0 && result !== -EINPROGRESS) {
    closeDescriptor(socket);
    throw new KernelError('connect', -result);
  }
  return socket;
}

/** The error that a connection attempt ended with; undefined: it is connected. */
export function connectionError(socket: number): KernelError | undefined {
  const value = tryGetSocketOption(socket, SOL_SOCKET, SO_ERROR, 4);
  const errno = typeof value === 'number' ? -value : value.readInt32LE(0);
  return errno === 0 ? undefined : new KernelError('connect', errno);
}

/** @param address port 0: the kernel chooses one. @throws KernelError EADDRINUSE, EADDRNOTAVAIL */
export function listenTcp(
  address: TcpAddress,
  backlog: number,
  tuning: TcpTuning,
): { readonly socket: number; readonly port: number } {
  const socket = openTcp(address, tuning);
  try {
    setNumber(socket, SOL_SOCKET, SO_REUSEADDR, 1);
    bindSocket(socket, raw(address));
    listenOn(socket, backlog);
    return { socket, port: decodeInetAddress(localAddress(socket)).port };
  } catch (thrown) {
    closeDescriptor(socket);
    throw thrown;
  }
}

/** @returns undefined where no connection waits. It inherits the listener's tuning. */
export function acceptTcp(listener: number): number | undefined {
  const socket = trySyscall(SYS.accept4, listener, null, null, O.NONBLOCK | O.CLOEXEC);
  if (socket >= 0) return socket;
  // A connection that is gone again before it was accepted is none (accept(2)).
  if (socket === -EAGAIN || socket === -EINTR || BROKEN.includes(-socket)) return undefined;
  throw new KernelError('accept4', -socket);
}

/** One read. @returns the number of bytes; 0: the peer has ended its direction; undefined: nothing to read now. */
export function receiveTcp(socket: number, into: Uint8Array): number | undefined {
  for (;;) {
    const count = trySyscall(SYS.recvfrom, socket, into, into.length, 0, null, null);
    if (count >= 0) return count;
    if (count === -EAGAIN) return undefined;
    if (count !== -EINTR) throw new KernelError('receive', -count);
  }
}

/** Writes pieces of memory that lie apart with one call. It owns what the kernel reads by address. */
export class TcpWriter {
  readonly #socket: number;
  readonly #vector: Buffer;
  readonly #header = Buffer.alloc(MSGHDR_BYTES);
  /** Held until the next write: the garbage collector does not see addresses inside a buffer. */
  #pieces: readonly Uint8Array[] = [];

  /** The socket stays the caller's. @param maxPieces of one write. */
  constructor(socket: number, maxPieces: number) {
    this.#socket = socket;
    this.#vector = Buffer.alloc(maxPieces * IOV_BYTES);
    // struct msghdr: name, name length, vector, vector length, control, control length, flags
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
  }

  /** One write, of as many bytes as there is room for. @returns how many; undefined: no room now. */
  write(pieces: readonly Uint8Array[]): number | undefined {
    assert(pieces.length * IOV_BYTES <= this.#vector.length, `${pieces.length} pieces in one write`);
    this.#pieces = pieces;
    let at = 0;
    for (const piece of this.#pieces) {
      this.#vector.writeBigUInt64LE(addressOf(piece), at);
      this.#vector.writeBigUInt64LE(BigInt(piece.length), at + 8);
      at += IOV_BYTES;
    }
    this.#header.writeBigUInt64LE(BigInt(pieces.length), 24);
    for (;;) {
      const count = trySyscall(SYS.sendmsg, this.#socket, this.#header, MSG_NOSIGNAL);
      if (count >= 0) return count;
      if (count === -EAGAIN) return undefined;
      if (count !== -EINTR) throw new KernelError('send', -count);
    }
  }
}

/** Ends this direction; what was sent goes out. Nothing happens where the connection is gone already. */
export function endSending(socket: number): void {
  trySyscall(SYS.shutdown, socket, SHUT_WR);
}
