import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import {
  FAMILIES,
  FILE_TYPES,
  NETLINK_TYPES,
  readAddress,
  readChoice,
  readFilter,
  readIndex,
  readLock,
  readMembership,
  readNumber,
  readOptional,
  readOptions,
  readWatch,
  SHUTDOWNS,
  UNIX_TYPES,
  writeAddress,
  writeChoice,
  writeIndex,
  writeLock,
  writeMembership,
  writeOptional,
  writeOptions,
} from './fields.ts';
import { MAX_PATH_BYTES, MAX_PIPE_BYTES } from './limits.ts';
import type { DescriptionImage, DescriptionKind } from './types.ts';

/** How one kind of open file description is written. `read` gets the flags, which every kind has, already read. */
type KindCodec<Image extends DescriptionImage> = {
  /** Never given to another kind. */
  readonly tag: number;
  /** Raised when the bytes of this kind change. */
  readonly version: number;
  readonly write: (writer: ByteWriter, image: Image) => void;
  readonly read: (reader: ByteReader, flags: number) => Image;
};

type Codecs = { readonly [Kind in DescriptionKind]: KindCodec<Extract<DescriptionImage, { kind: Kind }>> };

export const KIND_CODECS: Codecs = {
  file: {
    tag: 1,
    version: 1,
    write(writer, image) {
      writer.text(image.path);
      writeChoice(writer, FILE_TYPES, image.fileType);
      writer.u64(image.position).u64(image.size);
      writeIndex(writer, image.carried).list(image.locks, (lock) => writeLock(writer, lock));
    },
    read: (reader, flags) => ({
      kind: 'file',
      flags,
      path: reader.text(MAX_PATH_BYTES),
      fileType: readChoice(reader, FILE_TYPES),
      position: reader.u64(),
      size: reader.u64(),
      carried: readIndex(reader),
      locks: reader.list(() => readLock(reader)),
    }),
  },
  device: {
    tag: 2,
    version: 1,
    write: (writer, image) => writer.text(image.path).u32(image.major).u32(image.minor),
    read: (reader, flags) => ({
      kind: 'device',
      flags,
      path: reader.text(MAX_PATH_BYTES),
      major: reader.u32(),
      minor: reader.u32(),
    }),
  },
  pipe: {
    tag: 3,
    version: 1,
    write: (writer, image) => writer.u32(image.pipe),
    read: (reader, flags) => ({ kind: 'pipe', flags, pipe: reader.u32() }),
  },
  inherited: {
    tag: 4,
    version: 1,
    write: (writer, image) => writer.text(image.name),
    read: (reader, flags) => ({ kind: 'inherited', flags, name: reader.text(256) }),
  },
  eventfd: {
    tag: 5,
    version: 1,
    write: (writer, image) => writer.u64(image.count).bool(image.semaphore),
    read: (reader, flags) => ({ kind: 'eventfd', flags, count: reader.u64(), semaphore: reader.bool() }),
  },
  epoll: {
    tag: 6,
    version: 1,
    write(writer, image) {
      writer.list(image.items, (item) => {
        writer.u32(item.target).u32(item.number).u32(item.events).u64(item.data);
      });
    },
    read: (reader, flags) => ({
      kind: 'epoll',
      flags,
      items: reader.list(() => ({
        target: reader.u32(),
        number: readNumber(reader),
        events: reader.u32(),
        data: reader.u64(),
      })),
    }),
  },
  timerfd: {
    tag: 7,
    version: 1,
    write: (writer, image) =>
      writer
        .u32(image.clock)
        .u32(image.settimeFlags)
        .u64(image.ticks)
        .u64(image.remaining)
        .u64(image.expiry)
        .u64(image.interval),
    read: (reader, flags) => ({
      kind: 'timerfd',
      flags,
      clock: reader.u32(),
      settimeFlags: reader.u32(),
      ticks: reader.u64(),
      remaining: reader.u64(),
      expiry: reader.u64(),
      interval: reader.u64(),
    }),
  },
  signalfd: {
    tag: 8,
    version: 1,
    write: (writer, image) => writer.u64(image.mask),
    read: (reader, flags) => ({ kind: 'signalfd', flags, mask: reader.u64() }),
  },
  'udp-socket': {
    tag: 9,
    version: 1,
    write(writer, image) {
      writeChoice(writer, FAMILIES, image.family);
      writeOptional(writer, image.local, (local) => writeAddress(writer, local));
      writeOptional(writer, image.remote, (remote) => writeAddress(writer, remote));
      writeChoice(writer, SHUTDOWNS, image.shutdown);
      writeOptions(writer, image.options);
      writer.list(image.memberships, (membership) => writeMembership(writer, membership)).bytes(image.filter);
    },
    read: (reader, flags) => ({
      kind: 'udp-socket',
      flags,
      family: readChoice(reader, FAMILIES),
      local: readOptional(reader, () => readAddress(reader)),
      remote: readOptional(reader, () => readAddress(reader)),
      shutdown: readChoice(reader, SHUTDOWNS),
      options: readOptions(reader),
      memberships: reader.list(() => readMembership(reader)),
      filter: readFilter(reader),
    }),
  },
  'tcp-socket': {
    tag: 10,
    version: 1,
    write(writer, image) {
      writeChoice(writer, FAMILIES, image.family);
      writeOptional(writer, image.local, (local) => writeAddress(writer, local));
      writeOptional(writer, image.backlog, (backlog) => writer.u32(backlog));
      writeOptions(writer, image.options);
      writer.bytes(image.filter);
    },
    read: (reader, flags) => ({
      kind: 'tcp-socket',
      flags,
      family: readChoice(reader, FAMILIES),
      local: readOptional(reader, () => readAddress(reader)),
      backlog: readOptional(reader, () => reader.u32()),
      options: readOptions(reader),
      filter: readFilter(reader),
    }),
  },
  'unix-socket': {
    tag: 11,
    version: 1,
    write(writer, image) {
      writeChoice(writer, UNIX_TYPES, image.type);
      writer.bool(image.connected);
      writeIndex(writer, image.peer);
      writer.u8(image.shutdown);
      writeOptions(writer, image.options);
      writer.list(image.chunks, (chunk) => writer.bytes(chunk));
    },
    read: (reader, flags) => ({
      kind: 'unix-socket',
      flags,
      type: readChoice(reader, UNIX_TYPES),
      connected: reader.bool(),
      peer: readIndex(reader),
      shutdown: reader.u8(),
      options: readOptions(reader),
      chunks: reader.list(() => reader.bytes(MAX_PIPE_BYTES)),
    }),
  },
  inotify: {
    tag: 12,
    version: 1,
    write(writer, image) {
      writer.list(image.watches, ({ watch, path, mask }) => writer.i32(watch).text(path).u32(mask));
    },
    read: (reader, flags) => ({ kind: 'inotify', flags, watches: reader.list(() => readWatch(reader)) }),
  },
  'netlink-socket': {
    tag: 13,
    version: 1,
    write(writer, image) {
      writeChoice(writer, NETLINK_TYPES, image.type);
      writer
        .u16(image.protocol)
        .u32(image.port)
        .list(image.groups, (group) => writer.u32(group));
      writeOptions(writer, image.options);
    },
    read: (reader, flags) => ({
      kind: 'netlink-socket',
      flags,
      type: readChoice(reader, NETLINK_TYPES),
      protocol: reader.u16(),
      port: reader.u32(),
      groups: reader.list(() => reader.u32()),
      options: readOptions(reader),
    }),
  },
};
