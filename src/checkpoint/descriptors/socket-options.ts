import type { SocketOptionImage } from '../../image/descriptors/types.ts';
import type { SocketOption } from '../../linux/socket-options.ts';
import { getSocketFilter, interfaceName, tryGetSocketOption } from '../../linux/sockets.ts';
import { Refusal } from './source.ts';

/** Sent datagrams are counted for their time stamps (linux/net_tstamp.h); the counter cannot be set. */
const SOF_TIMESTAMPING_OPT_ID = 1 << 7;

/** @param name of the socket, for a refusal. */
export function captureOptions(
  socket: number,
  number: number,
  name: string,
  options: readonly SocketOption[],
): SocketOptionImage[] {
  return options.flatMap((option) => {
    const value = tryGetSocketOption(socket, option.level, option.number, option.maxBytes);
    // A kernel without this option has its default behaviour.
    if (typeof value === 'number') return [];
    if (option.onlyZero && value.some((byte) => byte !== 0)) {
      throw new Refusal(number, `${name} with ${option.name} set, which cannot be moved`);
    }
    if (option.name.startsWith('SO_TIMESTAMPING') && (value.readUInt32LE(0) & SOF_TIMESTAMPING_OPT_ID) !== 0) {
      throw new Refusal(number, `${name} with SOF_TIMESTAMPING_OPT_ID, whose count cannot be moved`);
    }
    return [{ level: option.level, option: option.number, value: portableValue(socket, option, value) }];
  });
}

/** Interfaces by name instead of by index. */
function portableValue(socket: number, { interfaceIndex }: SocketOption, value: Buffer): Buffer {
  if (interfaceIndex === null) return value;
  const index = interfaceIndex === 'host' ? value.readUInt32LE(0) : value.readUInt32BE(0);
  return Buffer.from(interfaceName(socket, index), 'utf8');
}

/** The classic BPF program of a socket. */
export function captureFilter(socket: number, number: number, name: string): Buffer {
  const filter = getSocketFilter(socket);
  if (filter === null) throw new Refusal(number, `${name} with an eBPF filter`);
  return filter;
}
