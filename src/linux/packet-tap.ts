/** A packet socket (packet(7)) that sees everything that crosses a device, both ways, with the kernel's count of it. */
import { EAGAIN, EINTR, ENETDOWN, KernelError } from './errno.ts';
import { stampAt } from './kernel-stamp.ts';
import { addressOf, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { AF_PACKET, bindSocket, SOCK_DGRAM, SOL_SOCKET, trySetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const ETH_P_ALL = 3;
const ETH_P_IP = 0x0800;
const PACKET_HOST = 0;
const PACKET_OUTGOING = 4;
const SO_RCVBUFFORCE = 33;
const SO_TIMESTAMPNS = 35;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
/** struct tpacket_auxdata: the UDP checksum is still to be filled in. */
const TP_STATUS_CSUMNOTREADY = 8;

/** struct sockaddr_ll, mmsghdr, iovec and cmsghdr of x86-64. */
const SOCKADDR_LL_BYTES = 20;
const MMSGHDR_BYTES = 64;
const IOVEC_BYTES = 16;
const CMSGHDR_BYTES = 16;
const CONTROL_BYTES = 128;
const NAME_BYTES = 32;

/** Frames that one system call takes. */
const BATCH = 32;

type TappedFrame = {
  /** Sent through the device from this side; else received by this host. */
  readonly outgoing: boolean;
  /** Nanoseconds, {@link stampAt}: the kernel's receive stamp, the same that a socket tells of the same packet. */
  readonly stamp: number;
  /** The IP packet: a view that is valid until the next read. */
  readonly packet: Buffer;
  /** Its UDP checksum has not been filled in. */
  readonly checksumMissing: boolean;
};

/** Takes a frame; null: a frame of another kind than IPv4, or not for this host, which counts all the same. */
type TakeFrame = (frame: TappedFrame | null) => void;

export class PacketTap {
  readonly descriptor: number;
  readonly #frameBytes: number;
  readonly #headers = Buffer.alloc(BATCH * MMSGHDR_BYTES);
  readonly #vectors = Buffer.alloc(BATCH * IOVEC_BYTES);
  readonly #names = Buffer.alloc(BATCH * NAME_BYTES);
  readonly #controls = Buffer.alloc(BATCH * CONTROL_BYTES);
  readonly #frames: Buffer;
  readonly #statistics = Buffer.alloc(8);
  readonly #statisticsLength = Buffer.from([8, 0, 0, 0]);
  #queued = 0;
  #dropped = 0;
  #deviceGone = false;
  #closed = false;

  /**
   * In the network namespace of the calling thread; usable from anywhere afterwards. It sees what crosses from now on.
   * The caller closes it.
   * @param link index of the device.
   * @param mtu of the device: no packet that is tapped is longer.
   * @param bufferBytes what may wait here, with the kernel's overhead (about 0.8 KB for a small packet).
   */
  constructor(link: number, { mtu, bufferBytes }: { readonly mtu: number; readonly bufferBytes: number }) {
    this.#frameBytes = (mtu + 63) & ~63;
    this.#frames = Buffer.alloc(BATCH * this.#frameBytes);
    // Without the link-layer header; protocol 0 receives nothing until it is bound to its device.
    this.descriptor = syscall('socket(AF_PACKET)', SYS.socket, AF_PACKET, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, 0);
    try {
      this.#setNumber(SOL_SOCKET, SO_RCVBUFFORCE, bufferBytes / 2);
      this.#setNumber(SOL_SOCKET, SO_TIMESTAMPNS, 1);
      this.#setNumber(SOL_PACKET, PACKET_AUXDATA, 1);
      const address = Buffer.alloc(SOCKADDR_LL_BYTES);
      address.writeUInt16LE(AF_PACKET, 0);
      address.writeUInt16BE(ETH_P_ALL, 2);
      address.writeInt32LE(link, 4);
      bindSocket(this.descriptor, address);
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    for (let slot = 0; slot < BATCH; slot++) this.#layOut(slot);
  }

  #setNumber(level: number, option: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    const result = trySetSocketOption(this.descriptor, level, option, bytes);
    if (result < 0) throw new KernelError(`setsockopt ${level}, ${option} of a packet socket`, -result);
  }

  /** Everything that is pointed at is a field of this object: what only an address leads to would be collected. */
  #layOut(slot: number): void {
    const header = slot * MMSGHDR_BYTES;
    const vector = slot * IOVEC_BYTES;
    this.#vectors.writeBigUInt64LE(addressOf(this.#frames) + BigInt(slot * this.#frameBytes), vector);
    this.#vectors.writeBigUInt64LE(BigInt(this.#frameBytes), vector + 8);
    // struct msghdr: name, name length, vector, vector length, control, control length, flags
    this.#headers.writeBigUInt64LE(addressOf(this.#names) + BigInt(slot * NAME_BYTES), header);
    this.#headers.writeBigUInt64LE(addressOf(this.#vectors) + BigInt(vector), header + 16);
    this.#headers.writeBigUInt64LE(1n, header + 24);
    this.#headers.writeBigUInt64LE(addressOf(this.#controls) + BigInt(slot * CONTROL_BYTES), header + 32);
    this.#resetLengths(slot);
  }

  /** The kernel leaves in these fields how much it has written. */
  #resetLengths(slot: number): void {
    const header = slot * MMSGHDR_BYTES;
    this.#headers.writeUInt32LE(SOCKADDR_LL_BYTES, header + 8);
    this.#headers.writeUInt32LE(CONTROL_BYTES, header + 40);
    this.#headers.writeUInt32LE(0, header + 44);
  }

  /** The device is gone, or down: {@link read} gives what was seen before, and there will be no more. */
  get deviceGone(): boolean {
    return this.#deviceGone;
  }

  /**
   * Takes frames that wait, oldest first, at most a batch of them.
   * @returns how many; 0: none waits. A frame counts also where it is of no use.
   */
  read(take: TakeFrame): number {
    let count: number;
    for (;;) {
      count = trySyscall(SYS.recvmmsg, this.descriptor, this.#headers, BATCH, MSG_DONTWAIT, null);
      // It is told once, before the frames that wait.
      if (count === -ENETDOWN) this.#deviceGone = true;
      else if (count !== -EINTR) break;
    }
    if (count === -EAGAIN) return 0;
    if (count < 0) throw new KernelError('recvmmsg of a packet socket', -count);
    for (let slot = 0; slot < count; slot++) {
      take(this.#frame(slot));
      this.#resetLengths(slot);
    }
    return count;
  }

  #frame(slot: number): TappedFrame | null {
    const header = slot * MMSGHDR_BYTES;
    const name = slot * NAME_BYTES;
    const kind = this.#names[name + 10];
    if (this.#names.readUInt16BE(name + 2) !== ETH_P_IP) return null;
    if (kind !== PACKET_HOST && kind !== PACKET_OUTGOING) return null;
    if ((this.#headers.readUInt32LE(header + 48) & MSG_TRUNC) !== 0) return null;
    let stamp = -1;
    let checksumMissing = false;
    const start = slot * CONTROL_BYTES;
    const end = start + this.#headers.readUInt32LE(header + 40);
    for (let at = start; at + CMSGHDR_BYTES <= end; ) {
      const bytes = this.#controls.readUInt32LE(at);
      if (bytes < CMSGHDR_BYTES) break;
      const level = this.#controls.readInt32LE(at + 8);
      const type = this.#controls.readInt32LE(at + 12);
      if (level === SOL_SOCKET && type === SO_TIMESTAMPNS) stamp = stampAt(this.#controls, at + CMSGHDR_BYTES);
      else if (level === SOL_PACKET && type === PACKET_AUXDATA)
        checksumMissing = (this.#controls.readUInt32LE(at + CMSGHDR_BYTES) & TP_STATUS_CSUMNOTREADY) !== 0;
      at += (bytes + 7) & ~7;
    }
    const frame = slot * this.#frameBytes;
    const length = this.#headers.readUInt32LE(header + 56);
    return {
      outgoing: kind === PACKET_OUTGOING,
      stamp,
      packet: this.#frames.subarray(frame, frame + length),
      checksumMissing,
    };
  }

  /**
   * The kernel's own count of what has crossed since this was made. `queued`: frames that {@link read} has given or will
   * give; `dropped`: that found no room here.
   */
  count(): { readonly queued: number; readonly dropped: number } {
    this.#statisticsLength.writeUInt32LE(8, 0);
    const result = trySyscall(
      SYS.getsockopt,
      this.descriptor,
      SOL_PACKET,
      PACKET_STATISTICS,
      this.#statistics,
      this.#statisticsLength,
    );
    if (result < 0) throw new KernelError('getsockopt PACKET_STATISTICS', -result);
    // struct tpacket_stats: all frames, those dropped among them. The kernel begins anew with every look.
    const dropped = this.#statistics.readUInt32LE(4);
    this.#queued += this.#statistics.readUInt32LE(0) - dropped;
    this.#dropped += dropped;
    return { queued: this.#queued, dropped: this.#dropped };
  }

  /** May be repeated. Takes some milliseconds. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
