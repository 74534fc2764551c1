/** Offloads of a network device: SIOCETHTOOL ioctls, from linux/ethtool.h and linux/sockios.h. */
import { EOPNOTSUPP, KernelError } from './errno.ts';
import { addressOf, syscall, trySyscall } from './libc.ts';
import { closeFd } from './netns.ts';
import { SYS } from './syscall-numbers.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const SIOCETHTOOL = 0x8946;
const IFNAMSIZ = 16;
/** struct ifreq: the name, and a union of which ioctls of this kind use the pointer. */
const IFREQ_BYTES = 40;
/** struct ethtool_value: u32 command, u32 value. */
const ETHTOOL_VALUE_BYTES = 8;

/** Command to read and command to set each. */
const OFFLOADS = {
  'tx-checksum': [0x16, 0x17],
  'tcp-segmentation': [0x1e, 0x1f],
  'generic-segmentation': [0x23, 0x24],
  'generic-receive': [0x2b, 0x2c],
} as const;

export type Offload = keyof typeof OFFLOADS;

/** In the calling thread's network namespace. */
function ioctl(link: string, command: number, value: number): number {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(link.slice(0, IFNAMSIZ - 1), 'latin1');
  const argument = Buffer.alloc(ETHTOOL_VALUE_BYTES);
  argument.writeUInt32LE(command, 0);
  argument.writeUInt32LE(value, 4);
  request.writeBigUInt64LE(addressOf(argument), IFNAMSIZ);
  const fd = syscall('socket(AF_INET)', SYS.socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    const result = trySyscall(SYS.ioctl, fd, SIOCETHTOOL, request);
    if (result < 0) throw new KernelError(`ethtool ${link}, command 0x${command.toString(16)}`, -result);
    // The kernel wrote through the address in `request`, so `argument` must be alive up to here; and it is.
    return argument.readUInt32LE(4);
  } finally {
    closeFd(fd);
  }
}

export function readOffloads(link: string): Record<Offload, boolean> {
  const entries = Object.entries(OFFLOADS).map(([name, [read]]) => [name, ioctl(link, read, 0) !== 0]);
  return Object.fromEntries(entries) as Record<Offload, boolean>;
}

/**
 * Every packet then crosses the device as the one datagram that it is, with its checksum filled in. An offload that the
 * device does not have is off already.
 */
export function switchOffloadsOff(link: string): void {
  for (const [, set] of Object.values(OFFLOADS)) {
    try {
      ioctl(link, set, 0);
    } catch (thrown) {
      if (!(thrown instanceof KernelError) || thrown.errno !== EOPNOTSUPP) throw thrown;
    }
  }
}
