/** Hands a descriptor to another process over a unix socket (SCM_RIGHTS of unix(7)). */
import { addressOf, syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** struct msghdr, struct cmsghdr with one descriptor, struct iovec of x86-64. */
const MSGHDR_BYTES = 56;
const CMSG_BYTES = 24;
const CMSG_LENGTH = 20;
const IOV_BYTES = 16;

/** What {@link encodeReceiving} makes, laid out for one address. */
export const RECEIVING_BYTES = MSGHDR_BYTES + CMSG_BYTES + IOV_BYTES + 8;
const CONTROL = MSGHDR_BYTES;
const VECTOR = CONTROL + CMSG_BYTES;
const PAYLOAD = VECTOR + IOV_BYTES;
const RECEIVED = CONTROL + 16;

function encode(at: bigint): Buffer {
  const bytes = Buffer.alloc(RECEIVING_BYTES);
  bytes.writeBigUInt64LE(at + BigInt(VECTOR), 16);
  bytes.writeBigUInt64LE(1n, 24);
  bytes.writeBigUInt64LE(at + BigInt(CONTROL), 32);
  bytes.writeBigUInt64LE(BigInt(CMSG_BYTES), 40);
  bytes.writeBigUInt64LE(at + BigInt(PAYLOAD), VECTOR);
  bytes.writeBigUInt64LE(1n, VECTOR + 8);
  return bytes;
}

/** Sends a descriptor of this process. @param socket of type SOCK_DGRAM or SOCK_STREAM. */
export function sendDescriptor(socket: number, descriptor: number): void {
  const space = Buffer.alloc(RECEIVING_BYTES);
  const message = encode(addressOf(space));
  message.writeBigUInt64LE(BigInt(CMSG_LENGTH), CONTROL);
  message.writeInt32LE(SOL_SOCKET, CONTROL + 8);
  message.writeInt32LE(SCM_RIGHTS, CONTROL + 12);
  message.writeInt32LE(descriptor, CONTROL + 16);
  message.copy(space);
  syscall('send a descriptor', SYS.sendmsg, socket, space, 0);
}

/** The argument of a recvmsg(2) that takes a descriptor, for a process in which it will lie at `at`. */
export function encodeReceiving(at: bigint): Buffer {
  return encode(at);
}

/** @param bytes what recvmsg has left. @returns the descriptor in the process that has received it. */
export function receivedDescriptor(bytes: Buffer): number {
  return bytes.readInt32LE(RECEIVED);
}
