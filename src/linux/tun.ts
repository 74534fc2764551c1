/** TUN devices (Documentation/networking/tuntap.rst): what is sent to the device is read from its descriptor. */
import { EAGAIN, EINTR, KernelError } from './errno.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_TUN_EXCL = 0x8000;
/** struct ifreq: a name of 16 bytes and a union of 24. */
const IFREQ_BYTES = 40;
const IFREQ_VALUE = 16;
/** Above the longest IP packet. */
const PACKET_BYTES = 1 << 16;

/** Opens the control device and makes a device with it: what the descriptor then stands for. */
function openDevice(name: string, kind: number, what: string): number {
  const path = '/dev/net/tun';
  const flags = O.RDWR | O.NONBLOCK | O.CLOEXEC;
  const descriptor = syscall(`open ${path}`, SYS.openat, AT_FDCWD, cString(path), flags);
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name.slice(0, IFREQ_VALUE - 1), 'latin1');
  request.writeUInt16LE(kind | IFF_NO_PI | IFF_TUN_EXCL, IFREQ_VALUE);
  const result = trySyscall(SYS.ioctl, descriptor, TUNSETIFF, request);
  if (result >= 0) return descriptor;
  closeDescriptor(descriptor);
  throw new KernelError(`make ${what} device ${name}`, -result);
}

/**
 * Makes a TAP device (Ethernet frames) that stays until it is deleted or its network namespace goes: another program opens
 * it by its name. In the network namespace of the calling thread. @throws KernelError EBUSY: the name is taken
 */
export function addTap(name: string): void {
  const descriptor = openDevice(name, IFF_TAP, 'TAP');
  try {
    syscall(`keep TAP device ${name}`, SYS.ioctl, descriptor, TUNSETPERSIST, 1);
  } finally {
    closeDescriptor(descriptor);
  }
}

/** A device that lives as long as this descriptor is open. It is down, and has a queue of 500 packets at first. */
export class TunDevice {
  readonly descriptor: number;
  readonly #packet = Buffer.alloc(PACKET_BYTES);
  #closed = false;

  /** In the network namespace of the calling thread. The caller closes it. @throws KernelError EBUSY: the name is taken */
  constructor(name: string) {
    this.descriptor = openDevice(name, IFF_TUN, 'TUN');
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
