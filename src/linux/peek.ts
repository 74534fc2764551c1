/** Looking at what waits in a socket of this process, without taking it: MSG_PEEK. */
import { EAGAIN, EMSGSIZE, KernelError } from './errno.ts';
import { addressOf, trySyscall } from './libc.ts';
import { SOL_SOCKET, tryGetSocketOption, trySetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const MSG_PEEK = 0x2;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const SO_PEEK_OFF = 42;
/** SO_PEEK_OFF of a socket that was not told one. */
const NO_OFFSET = -1;
/** struct msghdr of x86-64. */
const MSGHDR_BYTES = 56;
const MSGHDR_FLAGS = 48;
/**
 * A struct msghdr and the one struct iovec that it points at. They live as long as the module: a buffer that only an
 * address leads to would be collected in the middle of the call.
 */
const HEADER = Buffer.alloc(MSGHDR_BYTES);
const VECTOR = Buffer.alloc(16);

export type Peeked = {
  readonly bytes: Buffer;
  /** More came with it than bytes: descriptors or credentials. */
  readonly withControl: boolean;
};

/** What a read of a stream would give, at most so many bytes; null: nothing, or the end. */
export function peekStream(socket: number, maxBytes: number): Peeked | null {
  return withPeekOffset(socket, NO_OFFSET, () => {
    const peeked = peekOnce(socket, maxBytes);
    return peeked === null || peeked.bytes.length === 0 ? null : peeked;
  });
}

/**
 * Every message that waits in a socket that keeps them apart, oldest first. The kernel shows a message without bytes only
 * to the first that looks: a second call does not find it.
 *
 * @param closed the peer is: then nothing to read looks like a message without bytes, and the first of them is the end.
 */
export function peekMessages(socket: number, maxBytes: number, closed: boolean): Peeked[] {
  // With an offset set, every look goes on where the one before it ended.
  return withPeekOffset(socket, 0, () => {
    const messages: Peeked[] = [];
    for (;;) {
      const message = peekOnce(socket, maxBytes);
      if (message === null || (closed && message.bytes.length === 0)) return messages;
      messages.push(message);
    }
  });
}

/** @throws KernelError EMSGSIZE: a message is longer. */
function peekOnce(socket: number, maxBytes: number): Peeked | null {
  const bytes = Buffer.allocUnsafeSlow(maxBytes);
  VECTOR.writeBigUInt64LE(addressOf(bytes), 0);
  VECTOR.writeBigUInt64LE(BigInt(maxBytes), 8);
  HEADER.fill(0);
  HEADER.writeBigUInt64LE(addressOf(VECTOR), 16);
  HEADER.writeBigUInt64LE(1n, 24);
  const length = trySyscall(SYS.recvmsg, socket, HEADER, MSG_PEEK | MSG_DONTWAIT);
  if (length === -EAGAIN) return null;
  if (length < 0) throw new KernelError('recvmsg with MSG_PEEK', -length);
  const flags = HEADER.readUInt32LE(MSGHDR_FLAGS);
  if ((flags & MSG_TRUNC) !== 0) throw new KernelError('recvmsg with MSG_PEEK', EMSGSIZE);
  return { bytes: Buffer.from(bytes.subarray(0, length)), withControl: (flags & MSG_CTRUNC) !== 0 };
}

/** Runs with another SO_PEEK_OFF, which looking moves, and puts the socket's own back. */
function withPeekOffset<T>(socket: number, offset: number, run: () => T): T {
  const before = tryGetSocketOption(socket, SOL_SOCKET, SO_PEEK_OFF, 4);
  if (typeof before === 'number') throw new KernelError('getsockopt SO_PEEK_OFF', -before);
  if (offset === NO_OFFSET && before.readInt32LE(0) === NO_OFFSET) return run();
  const wanted = Buffer.alloc(4);
  wanted.writeInt32LE(offset);
  setPeekOffset(socket, wanted);
  try {
    return run();
  } finally {
    setPeekOffset(socket, before);
  }
}

function setPeekOffset(socket: number, offset: Buffer): void {
  const result = trySetSocketOption(socket, SOL_SOCKET, SO_PEEK_OFF, offset);
  if (result < 0) throw new KernelError('setsockopt SO_PEEK_OFF', -result);
}
