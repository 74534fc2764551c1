/** What several kinds of descriptor have in common, or what is too long for their table in kinds.ts. */
import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import {
  MAX_DESCRIPTOR_NUMBER,
  MAX_DEVICE_NAME_BYTES,
  MAX_FILTER_BYTES,
  MAX_OPTION_BYTES,
  MAX_PATH_BYTES,
} from './limits.ts';
import type { InotifyWatchImage, LockImage, MembershipImage, SocketAddressImage, SocketOptionImage } from './types.ts';

/** In the place of an index or a number that is not there. */
const NONE = 0xffff_ffff;

export function writeOptional<T>(writer: ByteWriter, value: T | null, write: (value: T) => void): void {
  writer.bool(value !== null);
  if (value !== null) write(value);
}

export function readOptional<T>(reader: ByteReader, read: () => T): T | null {
  return reader.bool() ? read() : null;
}

export const writeIndex = (writer: ByteWriter, index: number | null): ByteWriter => writer.u32(index ?? NONE);

export function readIndex(reader: ByteReader): number | null {
  const index = reader.u32();
  return index === NONE ? null : index;
}

/** One of a closed list, as its position in it: such lists only ever grow at the end. */
export function readChoice<const Choices extends readonly string[]>(
  reader: ByteReader,
  choices: Choices,
): Choices[number] {
  const index = reader.u8();
  return choices[index] ?? reader.fail(`choice ${index} of ${choices.join(', ')}`);
}

export function writeChoice<Choice extends string>(
  writer: ByteWriter,
  choices: readonly Choice[],
  choice: Choice,
): void {
  writer.u8(choices.indexOf(choice));
}

export const FILE_TYPES = ['regular', 'directory'] as const;
const LOCK_TYPES = ['flock', 'posix', 'ofd'] as const;
export const FAMILIES = ['inet', 'inet6'] as const;
export const SHUTDOWNS = ['nothing', 'reading', 'both'] as const;
const FILTER_MODES = ['include', 'exclude'] as const;
export const NETLINK_TYPES = ['raw', 'datagram'] as const;
export const UNIX_TYPES = ['stream', 'datagram', 'seqpacket'] as const;

export function writeLock(writer: ByteWriter, lock: LockImage): void {
  writeChoice(writer, LOCK_TYPES, lock.type);
  writer.bool(lock.exclusive).u64(lock.start);
  writeOptional(writer, lock.end, (end) => writer.u64(end));
}

export function readLock(reader: ByteReader): LockImage {
  return {
    type: readChoice(reader, LOCK_TYPES),
    exclusive: reader.bool(),
    start: reader.u64(),
    end: readOptional(reader, () => reader.u64()),
  };
}

function writeIp(writer: ByteWriter, address: Uint8Array): void {
  writer.bytes(address);
}

function readIp(reader: ByteReader): Uint8Array {
  const address = reader.bytes(16);
  if (address.length !== 4 && address.length !== 16) reader.fail(`an IP address of ${address.length} bytes`);
  return address;
}

export function writeAddress(writer: ByteWriter, { address, port, scope, flowInfo }: SocketAddressImage): void {
  writeIp(writer, address);
  writer.u16(port).text(scope).u32(flowInfo);
}

export function readAddress(reader: ByteReader): SocketAddressImage {
  return {
    address: readIp(reader),
    port: reader.u16(),
    scope: reader.text(MAX_DEVICE_NAME_BYTES),
    flowInfo: reader.u32(),
  };
}

export function writeOptions(writer: ByteWriter, options: readonly SocketOptionImage[]): void {
  writer.list(options, ({ level, option, value }) => writer.u16(level).u16(option).bytes(value));
}

export function readOptions(reader: ByteReader): SocketOptionImage[] {
  return reader.list(() => ({ level: reader.u16(), option: reader.u16(), value: reader.bytes(MAX_OPTION_BYTES) }));
}

export function writeMembership(writer: ByteWriter, membership: MembershipImage): void {
  writer.text(membership.device);
  writeIp(writer, membership.group);
  writeChoice(writer, FILTER_MODES, membership.mode);
  writer.list(membership.sources, (source) => writeIp(writer, source));
}

export function readMembership(reader: ByteReader): MembershipImage {
  return {
    device: reader.text(MAX_DEVICE_NAME_BYTES),
    group: readIp(reader),
    mode: readChoice(reader, FILTER_MODES),
    sources: reader.list(() => readIp(reader)),
  };
}

export function readFilter(reader: ByteReader): Uint8Array {
  const filter = reader.bytes(MAX_FILTER_BYTES);
  if (filter.length % 8 !== 0) reader.fail(`a socket filter of ${filter.length} bytes`);
  return filter;
}

export function readNumber(reader: ByteReader): number {
  const number = reader.u32();
  if (number > MAX_DESCRIPTOR_NUMBER) reader.fail(`descriptor number ${number}`);
  return number;
}

export function readWatch(reader: ByteReader): InotifyWatchImage {
  return { watch: reader.i32(), path: reader.text(MAX_PATH_BYTES), mask: reader.u32() };
}
