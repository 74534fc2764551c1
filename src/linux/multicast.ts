/** Multicast memberships. No call lists those of a socket: the groups of its namespace are tried one by one. */
import { KernelError } from './errno.ts';
import { cString, syscall, trySyscall } from './libc.ts';
import { O } from './open-flags.ts';
import { closeDescriptor } from './pidfd.ts';
import { readFileWhole } from './quick-files.ts';
import { AF_INET, AF_INET6, SOL_IP, SOL_IPV6, trySetSocketOption } from './sockets.ts';
import { SYS } from './syscall-numbers.ts';

const AT_FDCWD = -100;
const MCAST_JOIN_GROUP = 42;
const MCAST_MSFILTER = 48;
const MCAST_INCLUDE = 1;
const SOCKADDR_STORAGE = 128;
/** struct group_req: u32 interface, padding, address. */
const GROUP_REQ_BYTES = 8 + SOCKADDR_STORAGE;
/** struct group_filter: u32 interface, padding, address, u32 mode, u32 count, addresses. */
const GROUP_FILTER_BYTES = GROUP_REQ_BYTES + 8;
const MAX_SOURCES = 64;

/** A group that an interface of a namespace has joined on behalf of somebody. */
export type JoinedGroup = {
  readonly interfaceIndex: number;
  readonly device: string;
  /** 4 or 16 bytes. */
  readonly group: Buffer;
};

type SourceFilter = { readonly mode: 'include' | 'exclude'; readonly sources: readonly Buffer[] };

/** The groups of the network namespace of a process, from /proc/PID/net/igmp and igmp6. */
export function joinedGroups(pid: number): JoinedGroup[] {
  const [igmp, igmp6] = TABLES.map((name) => readTable(`/proc/${pid}/net/${name}`));
  return [...parseIgmp(igmp!), ...parseIgmp6(igmp6!)];
}

const TABLES = ['igmp', 'igmp6'] as const;

function readTable(path: string): string {
  try {
    return readFileWhole(path).toString('latin1');
  } catch {
    // Absent where the kernel is without multicast, or without IPv6.
    return '';
  }
}

/** The tables of the network namespace of a process, open to be read again and again. */
export class GroupTables {
  readonly #files: readonly number[];

  constructor(pid: number) {
    // Absent where the kernel is without multicast, or without IPv6.
    this.#files = TABLES.map((name) =>
      trySyscall(SYS.openat, AT_FDCWD, cString(`/proc/${pid}/net/${name}`), O.RDONLY | O.CLOEXEC),
    ).filter((file) => file >= 0);
  }

  /**
   * As text, with the number of members of each group: when it is the same, no socket has come to or gone from a group. Null
   * where that would be longer than is read.
   */
  read(): string | null {
    let used = 0;
    for (const file of this.#files) {
      for (let count = -1; count !== 0; used += count) {
        const room = tables.length - used;
        if (room === 0) return null;
        // Made while they are read: only an empty read means the end.
        count = syscall('read multicast groups', SYS.read, file, tables.subarray(used), room);
      }
      syscall('rewind multicast groups', SYS.lseek, file, 0, 0);
    }
    return tables.toString('latin1', 0, used);
  }

  close(): void {
    for (const file of this.#files) closeDescriptor(file);
  }
}

const tables = Buffer.alloc(1 << 16);

export function parseIgmp(text: string): JoinedGroup[] {
  const groups: JoinedGroup[] = [];
  let on = { interfaceIndex: 0, device: '' };
  for (const line of text.split('\n')) {
    const device = /^(\d+)\s+(\S+)\s*:/.exec(line);
    if (device !== null) on = { interfaceIndex: Number(device[1]), device: device[2]! };
    // The address is printed as the number that its bytes are in memory.
    const group = /^\s+([0-9A-F]{8})\s/.exec(line);
    if (group !== null) groups.push({ ...on, group: Buffer.from(group[1]!, 'hex').reverse() });
  }
  return groups;
}

export function parseIgmp6(text: string): JoinedGroup[] {
  return Array.from(text.matchAll(/^(\d+)\s+(\S+)\s+([0-9a-f]{32})\s/gm), ([, index, device, group]) => ({
    interfaceIndex: Number(index),
    device: device!,
    group: Buffer.from(group!, 'hex'),
  }));
}

/** How a socket is a member of a group; null: it is not one. */
export function sourceFilter(socket: number, { interfaceIndex, group }: JoinedGroup): SourceFilter | null {
  const filter = Buffer.alloc(GROUP_FILTER_BYTES + MAX_SOURCES * SOCKADDR_STORAGE);
  filter.writeUInt32LE(interfaceIndex, 0);
  writeAddress(filter, 8, group);
  filter.writeUInt32LE(MAX_SOURCES, GROUP_REQ_BYTES + 4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(filter.length, 0);
  // EADDRNOTAVAIL: not a member. ENOPROTOOPT and the like: the other family.
  if (trySyscall(SYS.getsockopt, socket, levelOf(group), MCAST_MSFILTER, filter, length) < 0) return null;
  const count = filter.readUInt32LE(GROUP_REQ_BYTES + 4);
  if (count > MAX_SOURCES) throw new KernelError(`multicast membership with ${count} sources`, 0);
  return {
    mode: filter.readUInt32LE(GROUP_REQ_BYTES) === MCAST_INCLUDE ? 'include' : 'exclude',
    sources: Array.from({ length: count }, (_, index) =>
      readAddress(filter, GROUP_FILTER_BYTES + index * SOCKADDR_STORAGE, group.length),
    ),
  };
}

/** Makes a socket a member of a group as it was captured. @throws KernelError */
export function joinGroup(socket: number, joined: JoinedGroup, { mode, sources }: SourceFilter): void {
  const request = Buffer.alloc(GROUP_REQ_BYTES);
  request.writeUInt32LE(joined.interfaceIndex, 0);
  writeAddress(request, 8, joined.group);
  check('MCAST_JOIN_GROUP', trySetSocketOption(socket, levelOf(joined.group), MCAST_JOIN_GROUP, request));
  if (mode === 'exclude' && sources.length === 0) return;
  const filter = Buffer.alloc(GROUP_FILTER_BYTES + sources.length * SOCKADDR_STORAGE);
  request.copy(filter);
  filter.writeUInt32LE(mode === 'include' ? MCAST_INCLUDE : 0, GROUP_REQ_BYTES);
  filter.writeUInt32LE(sources.length, GROUP_REQ_BYTES + 4);
  sources.forEach((source, index) => {
    writeAddress(filter, GROUP_FILTER_BYTES + index * SOCKADDR_STORAGE, source);
  });
  check('MCAST_MSFILTER', trySetSocketOption(socket, levelOf(joined.group), MCAST_MSFILTER, filter));
}

function check(what: string, result: number): void {
  if (result < 0) throw new KernelError(what, -result);
}

const levelOf = (address: Uint8Array): number => (address.length === 4 ? SOL_IP : SOL_IPV6);

/** A struct sockaddr_in or sockaddr_in6 without a port, inside a sockaddr_storage. */
function writeAddress(into: Buffer, at: number, address: Uint8Array): void {
  into.writeUInt16LE(address.length === 4 ? AF_INET : AF_INET6, at);
  into.set(address, at + (address.length === 4 ? 4 : 8));
}

function readAddress(from: Buffer, at: number, length: number): Buffer {
  const start = at + (length === 4 ? 4 : 8);
  return Buffer.from(from.subarray(start, start + length));
}
