/**
 * The descriptor table of a process as data.
 *
 * A *descriptor* is a number in the table with its close-on-exec bit. It refers to an *open file description* (POSIX's
 * word): what open(2), socket(2) or pipe(2) made, with its status flags and its position. Several descriptors may share
 * one, and they share it again after the move. Descriptions in turn may share a pipe or a file without a name, which
 * therefore stand beside them.
 *
 * Numbers of flags, options, clocks and events are those of Linux on x86-64. Indexes are positions in the lists of the
 * same table.
 */

export type DescriptorTableImage = {
  /** Ascending by number, no number twice. */
  readonly descriptors: readonly DescriptorImage[];
  /** Each is referred to by a descriptor. */
  readonly descriptions: readonly DescriptionImage[];
  readonly pipes: readonly PipeImage[];
  readonly carriedFiles: readonly CarriedFileImage[];
};

export type DescriptorImage = {
  readonly number: number;
  readonly description: number;
  readonly closeOnExec: boolean;
};

export type DescriptionImage =
  | FileImage
  | DeviceImage
  | PipeEndImage
  | InheritedImage
  | EventfdImage
  | EpollImage
  | TimerfdImage
  | SignalfdImage
  | UdpSocketImage
  | TcpSocketImage
  | UnixSocketImage
  | NetlinkSocketImage
  | InotifyImage;

export type DescriptionKind = DescriptionImage['kind'];

type Description<Kind extends string> = {
  readonly kind: Kind;
  /** Access mode and status flags as F_GETFL gives them, without O_CLOEXEC. */
  readonly flags: number;
};

/** A regular file or a directory, by its path inside the sandbox. */
export type FileImage = Description<'file'> & {
  readonly path: string;
  readonly fileType: 'regular' | 'directory';
  readonly position: bigint;
  /** Bytes. The file at the destination has the same size, or the restore refuses. 0 for directories. */
  readonly size: bigint;
  /** Index of the contents that travel with the image; null: the destination has the file already. */
  readonly carried: number | null;
  readonly locks: readonly LockImage[];
};

/**
 * A file whose contents are in the image: one on a file system of the sandbox's own, or one that was unlinked. Those that no
 * description refers to are put there all the same, parents first.
 */
export type CarriedFileImage = {
  /** For an unlinked file the path that it had. */
  readonly path: string;
  readonly unlinked: boolean;
  /** Permission bits; with S_IFDIR, S_IFLNK (the contents are its target) or S_IFIFO where it is no regular file. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly contents: Uint8Array;
};

export type LockImage = {
  readonly type: 'flock' | 'posix' | 'ofd';
  readonly exclusive: boolean;
  readonly start: bigint;
  /** The last byte locked; null: to the end of the file, however it grows. */
  readonly end: bigint | null;
};

/** A character device that is the same on every machine. */
export type DeviceImage = Description<'device'> & {
  readonly path: string;
  readonly major: number;
  readonly minor: number;
};

/** One end of a pipe or FIFO; which one, the access mode says. */
export type PipeEndImage = Description<'pipe'> & { readonly pipe: number };

export type PipeImage = {
  /** Of a FIFO; null for a pipe. */
  readonly path: string | null;
  /** Of a FIFO: its readers are told (POLLHUP) that the last writer has gone. Of a pipe this follows from its ends. */
  readonly hungUp: boolean;
  /** Bytes, as F_GETPIPE_SZ gives them. */
  readonly capacity: number;
  /** What was written and not read. A pipe in packet mode (O_DIRECT) has one chunk a packet. */
  readonly chunks: readonly Uint8Array[];
};

/** A pipe whose other end belongs to the one who started the process: recreated by inheriting its counterpart. */
export type InheritedImage = Description<'inherited'> & { readonly name: string };

export type EventfdImage = Description<'eventfd'> & { readonly count: bigint; readonly semaphore: boolean };

export type EpollImage = Description<'epoll'> & { readonly items: readonly EpollItemImage[] };

export type EpollItemImage = {
  /** The description that is watched. */
  readonly target: number;
  /** The number under which it was added; that number need not refer to it any more. */
  readonly number: number;
  readonly events: number;
  readonly data: bigint;
};

export type TimerfdImage = Description<'timerfd'> & {
  readonly clock: number;
  /** TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET as they were given to timerfd_settime(2). */
  readonly settimeFlags: number;
  /** Expirations that nobody has read. */
  readonly ticks: bigint;
  /** Nanoseconds until the next expiration; 0: disarmed. */
  readonly remaining: bigint;
  /** Of a timer that was set to a time of day: that of the next expiration, in nanoseconds since 1970. Else 0. */
  readonly expiry: bigint;
  /** Nanoseconds. */
  readonly interval: bigint;
};

export type SignalfdImage = Description<'signalfd'> & {
  /** Bit n-1 for signal n. */
  readonly mask: bigint;
};

export type SocketAddressImage = {
  /** 4 bytes (IPv4) or 16 (IPv6), network order. */
  readonly address: Uint8Array;
  readonly port: number;
  /** IPv6: the name of the interface of a link-local address; else empty. */
  readonly scope: string;
  /** IPv6: flow information as in struct sockaddr_in6; else 0. */
  readonly flowInfo: number;
};

/** An option as setsockopt(2) takes it. */
export type SocketOptionImage = { readonly level: number; readonly option: number; readonly value: Uint8Array };

/** Membership in a multicast group. */
export type MembershipImage = {
  readonly device: string;
  /** 4 or 16 bytes. */
  readonly group: Uint8Array;
  /** `exclude` without sources is the ordinary membership: everybody. */
  readonly mode: 'include' | 'exclude';
  readonly sources: readonly Uint8Array[];
};

type InetSocket = {
  readonly family: 'inet' | 'inet6';
  /** null: not bound. */
  readonly local: SocketAddressImage | null;
  readonly options: readonly SocketOptionImage[];
  /** Classic BPF program of SO_ATTACH_FILTER, 8 bytes an instruction; empty: none. */
  readonly filter: Uint8Array;
};

/** Its receive queue is not part of the image: datagrams travel on a way of their own, in order. */
export type UdpSocketImage = Description<'udp-socket'> &
  InetSocket & {
    /** null: not connected. */
    readonly remote: SocketAddressImage | null;
    /** What shutdown(2) has closed. */
    readonly shutdown: 'nothing' | 'reading' | 'both';
    readonly memberships: readonly MembershipImage[];
  };

/** A TCP socket without a connection. */
export type TcpSocketImage = Description<'tcp-socket'> &
  InetSocket & {
    /** As given to listen(2); null: not listening. */
    readonly backlog: number | null;
  };

/**
 * A unix socket without a name. Its peer is in the process too, or is closed, or there never was one. Connections that go
 * out of the process cannot be moved.
 */
export type UnixSocketImage = Description<'unix-socket'> & {
  readonly type: 'stream' | 'datagram' | 'seqpacket';
  readonly connected: boolean;
  /** The description of the other end; null: it is closed, or the socket is not connected. */
  readonly peer: number | null;
  /** What shutdown(2) has closed: 1 receiving, 2 sending, 3 both. */
  readonly shutdown: number;
  readonly options: readonly SocketOptionImage[];
  /** What the peer sent and this end has not read; of a stream one chunk at most. */
  readonly chunks: readonly Uint8Array[];
};

/** A netlink socket by which the kernel tells of changes to the network (NETLINK_ROUTE), with nothing in its queue. */
export type NetlinkSocketImage = Description<'netlink-socket'> & {
  readonly type: 'raw' | 'datagram';
  readonly protocol: number;
  /** Port id; 0: not bound. */
  readonly port: number;
  /** Numbers of the multicast groups, ascending. */
  readonly groups: readonly number[];
  readonly options: readonly SocketOptionImage[];
};

export type InotifyImage = Description<'inotify'> & { readonly watches: readonly InotifyWatchImage[] };

export type InotifyWatchImage = { readonly watch: number; readonly path: string; readonly mask: number };
