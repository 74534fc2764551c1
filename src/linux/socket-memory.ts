/** Memory of a socket's receive queue: how much it may take, and what it has dropped. */
import { KernelError } from './errno.ts';
import { SOL_SOCKET, tryGetSocketOption, trySetSocketOption } from './sockets.ts';

const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
/** Positions in the answer of SO_MEMINFO (linux/sock_diag.h), u32 each. */
const SK_MEMINFO = { RMEM_ALLOC: 0, RCVBUF: 1, DROPS: 8 } as const;
const SK_MEMINFO_BYTES = 36;

export type ReceiveMemory = {
  /** Bytes that waiting packets take, with the kernel's own overhead: about 0.8 KB for a small datagram. */
  readonly usedBytes: number;
  readonly limitBytes: number;
  /** Packets dropped since the socket was made: queue full, or a wrong checksum. Counts modulo 2^32. */
  readonly drops: number;
};

export function receiveMemory(socket: number): ReceiveMemory {
  const value = tryGetSocketOption(socket, SOL_SOCKET, SO_MEMINFO, SK_MEMINFO_BYTES);
  if (typeof value === 'number') throw new KernelError('getsockopt SO_MEMINFO', -value);
  const word = (position: number): number => value.readUInt32LE(position * 4);
  return {
    usedBytes: word(SK_MEMINFO.RMEM_ALLOC),
    limitBytes: word(SK_MEMINFO.RCVBUF),
    drops: word(SK_MEMINFO.DROPS),
  };
}

/** Sets the limit regardless of net.core.rmem_max; needs CAP_NET_ADMIN. @param limitBytes even. */
export function forceReceiveLimit(socket: number, limitBytes: number): void {
  const bytes = Buffer.alloc(4);
  // The kernel doubles what it is asked for.
  bytes.writeInt32LE(limitBytes / 2);
  const result = trySetSocketOption(socket, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  if (result < 0) throw new KernelError('setsockopt SO_RCVBUFFORCE', -result);
}
