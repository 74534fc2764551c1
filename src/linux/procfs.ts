/** What procfs tells about a process, parsed. Everything throws ComicranError process.gone when the process has ended. */
import { ComicranError } from '../base/errors.ts';
import { ENOENT, ESRCH, KernelError } from './errno.ts';
import { listNumbers, readFileWhole, readLink } from './quick-files.ts';

/** A line of /proc/PID/maps. */
export type MapsEntry = {
  readonly start: bigint;
  readonly end: bigint;
  /** Four letters: `r-xp`. */
  readonly permissions: string;
  readonly offset: bigint;
  /** `major:minor`, hexadecimal. */
  readonly device: string;
  readonly inode: number;
  /** A path, `[heap]` or the like, or empty. */
  readonly name: string;
};

/** As {@link MapsEntry}, with what /proc/PID/smaps has beyond it. */
export type SmapsEntry = MapsEntry & {
  /** Two letters each, from the table in Documentation/filesystems/proc.rst: `rd`, `mw`, `dc`. */
  readonly flags: ReadonlySet<string>;
  readonly protectionKey: number;
};

function gone(pid: number | string, cause: unknown): ComicranError {
  return new ComicranError('process.gone', `process ${pid} has ended`, { cause });
}

function attempt<T>(pid: number | string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof KernelError && (error.errno === ENOENT || error.errno === ESRCH)) throw gone(pid, error);
    throw error;
  }
}

/** A file of /proc/PID as text; names of the kernel's and of files come through unchanged as Latin-1. */
export function readProc(pid: number | string, name: string): string {
  return readProcBytes(pid, name).toString('latin1');
}

export function readProcBytes(pid: number | string, name: string): Buffer {
  return attempt(pid, () => readFileWhole(`/proc/${pid}/${name}`));
}

/** A symbolic link of /proc/PID: `cwd`, `exe`, `ns/net`. */
export function readProcLink(pid: number | string, name: string): string {
  return attempt(pid, () => readLink(`/proc/${pid}/${name}`));
}

/** Thread ids of a process, ascending, in the PID namespace of the procfs. */
export function listThreads(pid: number): number[] {
  return attempt(pid, () => listNumbers(`/proc/${pid}/task`));
}

/**
 * Asks something of every thread of a process that runs.
 *
 * @param ask throws ComicranError process.gone, or KernelError ESRCH, for a thread that has ended; then that one is left out.
 * @throws ComicranError process.gone when the process itself has ended.
 */
export function askThreads<T>(pid: number, ask: (tid: number) => T): T[] {
  return listThreads(pid).flatMap((tid) => {
    try {
      return [ask(tid)];
    } catch (error) {
      const ended =
        (error instanceof ComicranError && error.code === 'process.gone') ||
        (error instanceof KernelError && error.errno === ESRCH);
      if (tid === pid || !ended) throw error;
      return [];
    }
  });
}

/** Children of every thread of a process, zombies included. */
export function listChildren(pid: number): number[] {
  return askThreads(pid, (tid) => {
    const text = readProc(pid, `task/${tid}/children`).trim();
    return text === '' ? [] : text.split(' ').map(Number);
  }).flat();
}

const HEADER = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+) *(.*)$/;

/** Octal escapes of seq_path: only a line feed in names of maps. */
function unescapeName(name: string): string {
  return name.includes('\\') ? name.replaceAll('\\012', '\n') : name;
}

function parseHeader(line: string): MapsEntry {
  const match = HEADER.exec(line);
  if (match === null) throw new ComicranError('process.trace', `a line of maps that is not understood: ${line}`);
  const [, start, end, permissions, offset, device, inode, name] = match;
  return {
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    permissions: permissions!,
    offset: BigInt(`0x${offset}`),
    device: device!,
    inode: Number(inode),
    name: unescapeName(Buffer.from(name!, 'latin1').toString('utf8')),
  };
}

export function parseMaps(text: string): MapsEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseHeader);
}

export function parseSmaps(text: string): SmapsEntry[] {
  const entries: SmapsEntry[] = [];
  let header: MapsEntry | null = null;
  let protectionKey = 0;
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    const first = text.charCodeAt(at);
    // Headers start with a lower-case hexadecimal digit, fields with a capital; VmFlags is the last field of an entry.
    if (first < 0x41 || first >= 0x61) {
      header = parseHeader(text.slice(at, end));
      protectionKey = 0;
    } else if (header !== null && text.startsWith('VmFlags:', at)) {
      const flags = new Set(
        text
          .slice(at + 8, end)
          .trim()
          .split(' '),
      );
      entries.push({ ...header, flags, protectionKey });
    } else if (text.startsWith('ProtectionKey:', at)) protectionKey = Number(text.slice(at + 14, end));
    at = end + 1;
  }
  return entries;
}

/** `Name:\tvalue` lines of /proc/PID/status or /proc/PID/task/TID/status. */
export class StatusFile {
  readonly #text: string;

  constructor(text: string) {
    this.#text = `\n${text}`;
  }

  has(name: string): boolean {
    return this.#text.includes(`\n${name}:`);
  }

  text(name: string): string {
    const at = this.#text.indexOf(`\n${name}:`);
    if (at < 0) throw new ComicranError('needs.kernel', `/proc/PID/status has no line ${name}`);
    const start = at + name.length + 2;
    return this.#text.slice(start, this.#text.indexOf('\n', start)).trim();
  }

  /** The name of the thread, which the kernel writes with two of its characters escaped. */
  name(): Buffer {
    const start = this.#text.indexOf('\nName:\t') + '\nName:\t'.length;
    const escaped = this.#text.slice(start, this.#text.indexOf('\n', start));
    return Buffer.from(
      escaped.replaceAll(/\\(n|\\)/g, (_, letter) => (letter === 'n' ? '\n' : '\\')),
      'latin1',
    );
  }

  number(name: string): number {
    return Number(this.text(name));
  }

  hex(name: string): bigint {
    return BigInt(`0x${this.text(name)}`);
  }

  numbers(name: string): number[] {
    const text = this.text(name);
    return text === '' ? [] : text.split(/\s+/).map(Number);
  }

  /** The last of the numbers: for NSpid and its like the one in the innermost namespace. */
  innermost(name: string): number {
    return this.numbers(name).at(-1) ?? 0;
  }
}

export function readStatus(pid: number, tid: number = pid): StatusFile {
  return new StatusFile(readProc(pid, tid === pid ? 'status' : `task/${tid}/status`));
}

/** Fields of /proc/PID/stat as proc(5) numbers them, from 3 (state) on. */
export function readStat(pid: number): { readonly text: (field: number) => string } {
  const line = readProc(pid, 'stat');
  // The second field is the name in parentheses, which may contain anything.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return { text: (field) => fields[field - 3]!.trim() };
}

/** A POSIX timer as /proc/PID/timers shows it. */
export type TimersEntry = {
  readonly id: number;
  readonly signal: number;
  readonly value: bigint;
  /** `none`, `signal` or `thread`. */
  readonly notify: string;
  /** Whether the signal goes to one thread, `target`, instead of the process; a number of the procfs's namespace. */
  readonly toThread: boolean;
  readonly target: number;
  readonly clock: number;
};

const TIMER = /ID: (\d+)\nsignal: (\d+)\/([0-9a-f]+)\nnotify: (\w+)\/(pid|tid)\.(\d+)\nClockID: (-?\d+)\n/g;

export function parseTimers(text: string): TimersEntry[] {
  const ids = text.match(/^ID:/gm)?.length ?? 0;
  const entries = [...text.matchAll(TIMER)].map(([, id, signal, value, notify, scope, target, clock]) => ({
    id: Number(id),
    signal: Number(signal),
    value: BigInt(`0x${value}`),
    notify: notify!,
    toThread: scope === 'tid',
    target: Number(target),
    clock: Number(clock),
  }));
  if (entries.length !== ids) throw new ComicranError('process.trace', 'a POSIX timer that is not understood');
  return entries;
}
