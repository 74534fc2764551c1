/** The datagram that a UDP socket of another process would read next, with the kernel's receive stamp, left in place. */
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { POLL, pollNow } from './file-descriptors.ts';
import { stampAt } from './kernel-stamp.ts';
import { addressOf, trySyscall } from './libc.ts';
import { decodeInetAddress, SOL_SOCKET } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const MSG_PEEK = 0x2;
const MSG_DONTWAIT = 0x40;
const SO_PEEK_OFF = 42;
const NO_OFFSET = -1;
/** The options of which at most one is on; the way of stamping that the socket has. */
const STAMP_OPTIONS = [29, 35, 63, 64] as const;
const SO_TIMESTAMPNS = 35;
/** struct msghdr and cmsghdr of x86-64. */
const MSGHDR_BYTES = 56;
const CMSGHDR_BYTES = 16;
const NAME_BYTES = 128;
const CONTROL_BYTES = 1024;
/** Above the longest datagram. */
const PAYLOAD_BYTES = 1 << 16;

type QueueHead = {
  /** Nanoseconds, {@link stampAt}; -1: the packet has none. */
  readonly stamp: number;
  /** 4 or 16 bytes. */
  readonly sourceAddress: Buffer;
  readonly sourcePort: number;
  readonly payload: Buffer;
};

/** Looks, with buffers of its own, which it uses again and again. */
export class QueueHeads {
  readonly #header = Buffer.alloc(MSGHDR_BYTES);
  readonly #name = Buffer.alloc(NAME_BYTES);
  readonly #vector = Buffer.alloc(16);
  readonly #payload = Buffer.alloc(PAYLOAD_BYTES);
  readonly #control = Buffer.alloc(CONTROL_BYTES);
  readonly #value = Buffer.alloc(4);
  readonly #valueLength = Buffer.alloc(4);

  constructor() {
    this.#vector.writeBigUInt64LE(addressOf(this.#payload), 0);
    this.#vector.writeBigUInt64LE(BigInt(PAYLOAD_BYTES), 8);
    this.#header.writeBigUInt64LE(addressOf(this.#name), 0);
    this.#header.writeBigUInt64LE(addressOf(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#header.writeBigUInt64LE(addressOf(this.#control), 32);
  }

  /**
   * Nobody may read the socket meanwhile: its process is stopped. The socket's own way of stamping is put back.
   * @returns `empty`: nothing waits; `error`: an error waits before the datagrams, and looking would take it away.
   */
  look(socket: number): QueueHead | 'empty' | 'error' {
    const ready = pollNow(socket, POLL.IN);
    if ((ready & POLL.IN) === 0) return 'empty';
    if ((ready & POLL.ERR) !== 0) return 'error';
    const before = STAMP_OPTIONS.find((option) => this.#get(socket, option) !== 0);
    // Where the process has set an offset, a look would begin there and move it, and pass over an empty datagram.
    const offset = this.#get(socket, SO_PEEK_OFF);
    if (offset >= 0) this.#set(socket, SO_PEEK_OFF, NO_OFFSET);
    this.#set(socket, SO_TIMESTAMPNS, 1);
    try {
      return this.#peek(socket);
    } finally {
      // Setting one way takes another one back.
      if (before === undefined) this.#set(socket, SO_TIMESTAMPNS, 0);
      else this.#set(socket, before, 1);
      if (offset >= 0) this.#set(socket, SO_PEEK_OFF, offset);
    }
  }

  #get(socket: number, option: number): number {
    this.#valueLength.writeUInt32LE(4, 0);
    const result = trySyscall(SYS.getsockopt, socket, SOL_SOCKET, option, this.#value, this.#valueLength);
    // An option that the kernel does not know is not on.
    return result < 0 ? 0 : this.#value.readInt32LE(0);
  }

  #set(socket: number, option: number, value: number): void {
    this.#value.writeInt32LE(value, 0);
    const result = trySyscall(SYS.setsockopt, socket, SOL_SOCKET, option, this.#value, 4);
    if (result < 0) throw new KernelError(`setsockopt ${option} of a UDP socket`, -result);
  }

  #peek(socket: number): QueueHead | 'empty' {
    this.#header.writeUInt32LE(NAME_BYTES, 8);
    this.#header.writeUInt32LE(CONTROL_BYTES, 40);
    let length: number;
    do length = trySyscall(SYS.recvmsg, socket, this.#header, MSG_PEEK | MSG_DONTWAIT);
    while (length === -EINTR);
    // What made the socket ready was a packet with a wrong checksum, which is gone now.
    if (length === -EAGAIN) return 'empty';
    if (length < 0) throw new KernelError('recvmsg with MSG_PEEK', -length);
    const { address, port } = decodeInetAddress(this.#name);
    return {
      stamp: this.#stamp(),
      sourceAddress: address,
      sourcePort: port,
      payload: Buffer.from(this.#payload.subarray(0, length)),
    };
  }

  #stamp(): number {
    const end = this.#header.readUInt32LE(40);
    for (let at = 0; at + CMSGHDR_BYTES <= end; ) {
      const bytes = this.#control.readUInt32LE(at);
      if (bytes < CMSGHDR_BYTES) break;
      const isStamp = this.#control.readInt32LE(at + 8) === SOL_SOCKET;
      if (isStamp && this.#control.readInt32LE(at + 12) === SO_TIMESTAMPNS)
        return stampAt(this.#control, at + CMSGHDR_BYTES);
      at += (bytes + 7) & ~7;
    }
    return -1;
  }
}
