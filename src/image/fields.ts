/** Fields that several sections have in common, with what may stand in them. */
import type { ByteReader } from '../base/bytes.ts';

/** Size of a siginfo_t. */
const SIGINFO_BYTES = 128;
const MAX_PID = 1 << 22;
/** Linux keeps at most this many in a queue unless told otherwise; RLIMIT_SIGPENDING can be raised. */
const MAX_PENDING = 1 << 16;
/** End of the user half of the address space with four-level page tables. */
const USER_SPACE_END = 1n << 47n;
const PAGE = 4096n;

/** An absolute path without a NUL. */
export function readPath(reader: ByteReader, what: string): string {
  const path = reader.text(4096);
  if (!path.startsWith('/') || path.includes('\0')) reader.fail(`${what} ${JSON.stringify(path)}`);
  return path;
}

export function readPid(reader: ByteReader, what: string): number {
  const pid = reader.u32();
  if (pid < 1 || pid > MAX_PID) reader.fail(`${what} ${pid}`);
  return pid;
}

/** As {@link readPid}, where 0 stands for none. */
export function readPidOrNone(reader: ByteReader, what: string): number {
  const pid = reader.u32();
  if (pid > MAX_PID) reader.fail(`${what} ${pid}`);
  return pid;
}

/** A number of a limited set. */
export function readUpTo(reader: ByteReader, most: number, what: string): number {
  const value = reader.u32();
  if (value > most) reader.fail(`${what} ${value}`);
  return value;
}

/** Page-aligned, not empty, in the user half. */
export function readRange(reader: ByteReader, what: string): { start: bigint; end: bigint } {
  const start = reader.u64();
  const end = reader.u64();
  if (start % PAGE !== 0n || end % PAGE !== 0n || start >= end || end > USER_SPACE_END)
    reader.fail(`${what} 0x${start.toString(16)}-0x${end.toString(16)}`);
  return { start, end };
}

export function readExact(reader: ByteReader, length: number, what: string): Buffer {
  const bytes = reader.bytes();
  if (bytes.length !== length) reader.fail(`${what} of ${bytes.length} bytes where ${length} belong`);
  return bytes;
}

export function readSignals(reader: ByteReader): Buffer[] {
  return reader.list(() => {
    const info = readExact(reader, SIGINFO_BYTES, 'signal');
    const signal = info.readInt32LE(0);
    if (signal < 1 || signal > 64) reader.fail(`signal ${signal}`);
    return info;
  }, MAX_PENDING);
}
