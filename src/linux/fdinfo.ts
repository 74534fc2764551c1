/** The fields of /proc/PID/fdinfo/NUMBER, proc_pid_fdinfo(5). Pure functions over its text. */

export type DescriptorInfo = {
  readonly position: bigint;
  /** Status flags, and O_CLOEXEC of the descriptor. */
  readonly flags: number;
  readonly mountId: number;
  readonly inode: string;
};

export type EpollItemInfo = {
  readonly number: number;
  readonly events: number;
  readonly data: bigint;
  readonly inode: string;
};

type TimerInfo = {
  readonly clock: number;
  readonly ticks: bigint;
  readonly settimeFlags: number;
  /** Nanoseconds; 0 is disarmed, or due at this moment. */
  readonly remaining: bigint;
  readonly interval: bigint;
};

type LockInfo = {
  /** FLOCK, POSIX, OFDLCK, LEASE, DELEG. */
  readonly type: string;
  readonly exclusive: boolean;
  readonly start: bigint;
  /** null: to the end of the file. */
  readonly end: bigint | null;
};

export type InotifyWatchInfo = {
  readonly watch: number;
  readonly inode: bigint;
  /** In the kernel's own encoding: minor in the low 20 bits, major above. */
  readonly device: number;
  readonly mask: number;
  /** File handle as name_to_handle_at(2) gives it; null where the file system has none. */
  readonly handle: { readonly type: number; readonly bytes: Buffer } | null;
};

function field(text: string, name: string): string {
  const start = text.indexOf(`${name}:`);
  if (start < 0) throw new Error(`no field ${name} in fdinfo: ${text}`);
  const end = text.indexOf('\n', start);
  return text.slice(start + name.length + 1, end < 0 ? undefined : end).trim();
}

export function parseDescriptorInfo(text: string): DescriptorInfo {
  return {
    position: BigInt(field(text, 'pos')),
    flags: Number.parseInt(field(text, 'flags'), 8),
    mountId: Number(field(text, 'mnt_id')),
    inode: field(text, 'ino'),
  };
}

/** @returns semaphore null: a kernel before 6.5, which does not tell. */
export function parseEventfd(text: string): { readonly count: bigint; readonly semaphore: boolean | null } {
  return {
    count: BigInt(`0x${field(text, 'eventfd-count')}`),
    semaphore: text.includes('eventfd-semaphore:') ? field(text, 'eventfd-semaphore') === '1' : null,
  };
}

export function parseSignalfdMask(text: string): bigint {
  return BigInt(`0x${field(text, 'sigmask')}`);
}

export function parseTimerfd(text: string): TimerInfo {
  return {
    clock: Number(field(text, 'clockid')),
    ticks: BigInt(field(text, 'ticks')),
    settimeFlags: Number.parseInt(field(text, 'settime flags'), 8),
    remaining: nanoseconds(field(text, 'it_value')),
    interval: nanoseconds(field(text, 'it_interval')),
  };
}

/** Of `(seconds, nanoseconds)`. */
function nanoseconds(pair: string): bigint {
  const [seconds = '', rest = ''] = pair.slice(1, -1).split(', ');
  return BigInt(seconds) * 1_000_000_000n + BigInt(rest);
}

const EPOLL_ITEM = /^tfd:\s+(\d+) events:\s+([0-9a-f]+) data:\s+([0-9a-f]+)\s+pos:\S+ ino:([0-9a-f]+)/gm;

export function parseEpollItems(text: string): EpollItemInfo[] {
  return Array.from(text.matchAll(EPOLL_ITEM), ([, number, events, data, inode]) => ({
    number: Number(number),
    events: Number.parseInt(events!, 16),
    data: BigInt(`0x${data}`),
    inode: BigInt(`0x${inode}`).toString(),
  }));
}

const LOCK = /^lock:\s+\d+: (\S+)\s+\S+\s+(\S+)\s+-?\d+ \S+ (\d+) (\d+|EOF)$/gm;

export function parseLocks(text: string): LockInfo[] {
  return Array.from(text.matchAll(LOCK), ([, type, access, start, end]) => ({
    type: type!,
    exclusive: access === 'WRITE',
    start: BigInt(start!),
    end: end === 'EOF' ? null : BigInt(end!),
  }));
}

const INOTIFY_WATCH =
  /^inotify wd:([0-9a-f]+) ino:([0-9a-f]+) sdev:([0-9a-f]+) mask:([0-9a-f]+) \S+(?: fhandle-bytes:([0-9a-f]+) fhandle-type:([0-9a-f]+) f_handle:([0-9a-f]*))?/gm;

export function parseInotifyWatches(text: string): InotifyWatchInfo[] {
  return Array.from(text.matchAll(INOTIFY_WATCH), ([, watch, inode, device, mask, , type, bytes]) => ({
    watch: Number.parseInt(watch!, 16),
    inode: BigInt(`0x${inode}`),
    device: Number.parseInt(device!, 16),
    mask: Number.parseInt(mask!, 16),
    handle: bytes === undefined ? null : { type: Number.parseInt(type!, 16), bytes: Buffer.from(bytes, 'hex') },
  }));
}
