/** Packet sockets (packet(7)): whole Ethernet frames into a device. */
import { EAGAIN, EINTR, ENOBUFS, KernelError } from './errno.ts';
import { syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { AF_PACKET, bindSocket, SOCK_RAW, SOL_SOCKET, trySetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const SOL_PACKET = 263;
const PACKET_QDISC_BYPASS = 20;
const SO_SNDBUFFORCE = 32;
/** struct sockaddr_ll. */
const SOCKADDR_LL_BYTES = 20;
const SEND_BUFFER_BYTES = 4 << 20;

/** Sends frames into one device. It receives none: its protocol is 0. */
export class FrameSender {
  readonly #socket: number;
  readonly #link: number;
  #closed = false;

  /**
   * In the network namespace of the calling thread; usable from anywhere afterwards. The caller closes it.
   * @param link index of the device.
   * @param bypass frames go past the device's queueing discipline, straight to its driver.
   */
  constructor(link: number, { bypass }: { readonly bypass: boolean }) {
    this.#link = link;
    this.#socket = syscall('socket(AF_PACKET)', SYS.socket, AF_PACKET, SOCK_RAW | O.CLOEXEC | O.NONBLOCK, 0);
    try {
      const address = Buffer.alloc(SOCKADDR_LL_BYTES);
      address.writeUInt16LE(AF_PACKET, 0);
      address.writeInt32LE(link, 4);
      bindSocket(this.#socket, address);
      this.#setNumber(SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
      if (bypass) this.#setNumber(SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  #setNumber(level: number, option: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    const result = trySetSocketOption(this.#socket, level, option, bytes);
    if (result < 0) throw new KernelError(`setsockopt ${level}, ${option} of a packet socket`, -result);
  }

  /**
   * @returns false where there is no room now: the frame has not gone, and nothing tells when there will be room.
   * @throws KernelError ENETDOWN: the device is down; ENXIO, ENODEV: it has gone; EMSGSIZE: longer than its MTU allows
   */
  trySend(frame: Uint8Array): boolean {
    for (;;) {
      const result = trySyscall(SYS.sendto, this.#socket, frame, frame.length, 0, null, 0);
      if (result >= 0) return true;
      // ENOBUFS is also what the receiving side says when its backlog is full.
      if (result === -EAGAIN || result === -ENOBUFS) return false;
      if (result !== -EINTR) throw new KernelError(`send a frame to link ${this.#link}`, -result);
    }
  }

  /** May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.#socket);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
