/** TUN devices (Documentation/networking/tuntap.rst): what is sent to the device is read from its descriptor. */
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_TUN_EXCL = 0x8000;
/** struct ifreq: a name of 16 bytes and a union of 24. */
const IFREQ_BYTES = 40;
const IFREQ_VALUE = 16;
/** Above the longest IP packet. */
const PACKET_BYTES = 1 << 16;

/** A device that lives as long as this descriptor is open. It is down, and has a queue of 500 packets at first. */
export class TunDevice {
  readonly descriptor: number;
  readonly #packet = Buffer.alloc(PACKET_BYTES);
  #closed = false;

  /** In the network namespace of the calling thread. The caller closes it. @throws KernelError EBUSY: the name is taken */
  constructor(name: string) {
    const path = '/dev/net/tun';
    const flags = O.RDWR | O.NONBLOCK | O.CLOEXEC;
    this.descriptor = syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), flags);
    const request = Buffer.alloc(IFREQ_BYTES);
    request.write(name.slice(0, IFREQ_VALUE - 1), 'latin1');
    request.writeUInt16LE(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, IFREQ_VALUE);
    const result = trySyscall(SYS.ioctl, this.descriptor, TUNSETIFF, request);
    if (result >= 0) return;
    this.close();
    throw new KernelError(`make TUN device ${name}`, -result);
  }

  /** The next packet that was sent to the device: a view that is valid until the next call. null: none waits. */
  read(): Buffer | null {
    for (;;) {
      const length = trySyscall(SYS.read, this.descriptor, this.#packet, PACKET_BYTES);
      if (length >= 0) return this.#packet.subarray(0, length);
      if (length === -EAGAIN) return null;
      if (length !== -EINTR) throw new KernelError('read of a TUN device', -length);
    }
  }

  /** The device goes. May be repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeDescriptor(this.descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
