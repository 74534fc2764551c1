/**
 * The log of a sandbox: what its root process writes, as JSON lines `{"t","stream","line"}`, where `t` is microseconds of
 * Unix time when jailor read the line's beginning. A line that is too long is cut into pieces, all but the last marked
 * `"more":true`. A full file is moved to `<path>.1`, that to `<path>.2` and so on; the oldest is dropped, so that no more is
 * kept than so many files of so many bytes.
 */
import { Socket } from 'node:net';
import type { LogsSpec } from '../base/sandbox-config.ts';
import { LogFile } from './log-file.ts';

export type LogStream = 'stdout' | 'stderr';
export type LogLine = {
  readonly t: number;
  readonly stream: LogStream | 'jailor';
  readonly line: string;
  readonly more?: true;
};

const MAX_FILE_BYTES = 10_000_000;
const FILES = 3;
const MAX_LINE_BYTES = 16 * 2 ** 10;
/** As JSON a byte may need six (\u0000), and a file takes a line of the longest kind at least. */
const LINES_IN_A_FILE = 8;
const NEWLINE = 0x0a;
const NOTHING = new Uint8Array();
/** Between two looks at what else there is to do: a process may print nothing but ends of lines, and each becomes a line of JSON. */
const BYTES_AT_A_TIME = 4096;

export type LogLimits = { readonly maxFileBytes: number; readonly maxLineBytes: number; readonly files: number };

export function logLimits({ logs }: { readonly logs?: LogsSpec }): LogLimits {
  const maxFileBytes = logs?.maxBytes ?? MAX_FILE_BYTES;
  const maxLineBytes = Math.min(MAX_LINE_BYTES, Math.floor(maxFileBytes / LINES_IN_A_FILE));
  return { maxFileBytes, maxLineBytes, files: logs?.files ?? FILES };
}

const nowMicros = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000);

export class LogWriter {
  readonly #limits: LogLimits;
  readonly #clock: () => number;
  readonly #file: LogFile;
  #lost = 0;

  /** Begins a new file. */
  constructor(path: string, limits: Partial<LogLimits> = {}, clock: () => number = nowMicros) {
    this.#limits = { ...logLimits({}), ...limits };
    this.#clock = clock;
    this.#file = new LogFile(path, this.#limits);
  }

  /**
   * Writes down what comes out of a pipe until everybody has closed its other end.
   *
   * @param readFd is closed by this.
   */
  follow(stream: LogStream, readFd: number): { readonly ended: Promise<void>; stop(): void } {
    const socket = new Socket({ fd: readFd, readable: true, writable: false });
    const lines = new LineSplitter(this.#limits.maxLineBytes);
    let began = 0;
    const cut = (cutting: (emit: Emit) => void): void => {
      const found: LogLine[] = [];
      const now = this.#clock();
      if (!lines.isInside) began = now;
      cutting(({ line, more }) => {
        found.push({ t: began, stream, line, ...(more ? { more: true } : {}) });
        began = now;
      });
      this.#write(found);
    };
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    let isClosed = false;
    /** What has been read and is not cut yet. While there is some nothing more is read. */
    let waiting: Uint8Array = NOTHING;
    const goOn = (): void => {
      cut((emit) => lines.add(waiting.subarray(0, BYTES_AT_A_TIME), emit));
      waiting = waiting.subarray(BYTES_AT_A_TIME);
      if (waiting.length > 0) setImmediate(goOn);
      else if (isClosed) finish();
      else socket.resume();
    };
    const finish = (): void => {
      cut((emit) => lines.flush(emit));
      resolve();
    };
    socket.on('data', (chunk: Buffer) => {
      waiting = chunk;
      if (chunk.length > BYTES_AT_A_TIME) socket.pause();
      goOn();
    });
    // A pipe has nothing to fail with but its end.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      isClosed = true;
      if (waiting.length === 0) finish();
    });
    return { ended, stop: () => socket.destroy() };
  }

  /** A full disk must not stop the process that is logged: what cannot be written is counted. */
  #write(lines: readonly LogLine[]): void {
    const [first] = lines;
    if (first === undefined) return;
    if (this.#lost > 0) {
      const note = { t: first.t, stream: 'jailor', line: `${this.#lost} lines could not be written` } as const;
      if (this.#file.append([note]) === 1) this.#lost = 0;
    }
    this.#lost += lines.length - (this.#lost > 0 ? 0 : this.#file.append(lines));
  }

  close(): void {
    this.#file.close();
  }
}

type Emit = (piece: { line: string; more: boolean }) => void;

/** Cuts bytes into lines. */
export class LineSplitter {
  readonly #maxBytes: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True when the last byte did not end a line. */
  get isInside(): boolean {
    return this.#rest.length > 0;
  }

  add(chunk: Uint8Array, emit: Emit): void {
    let rest = Buffer.concat([this.#rest, chunk]);
    for (;;) {
      const end = rest.indexOf(NEWLINE);
      if (end >= 0 && end <= this.#maxBytes) {
        emit({ line: rest.toString('utf8', 0, end), more: false });
        rest = rest.subarray(end + 1);
      } else if (rest.length > this.#maxBytes) {
        emit({ line: rest.toString('utf8', 0, this.#maxBytes), more: true });
        rest = rest.subarray(this.#maxBytes);
      } else {
        break;
      }
    }
    this.#rest = Buffer.from(rest);
  }

  /** What stands behind the last newline. */
  flush(emit: Emit): void {
    if (this.#rest.length > 0) emit({ line: this.#rest.toString('utf8'), more: false });
    this.#rest = Buffer.alloc(0);
  }
}
