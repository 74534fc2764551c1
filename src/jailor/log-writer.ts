/**
 * The log of a sandbox: what its root process writes, as JSON lines `{"t","stream","line"}`, where `t` is microseconds of
 * Unix time when jailor read the line's beginning. A line that is too long is cut into pieces, all but the last marked
 * `"more":true`. A full file is moved to `<path>.1`, that to `<path>.2` and so on; the oldest is dropped, so that no more is
 * kept than so many files of so many bytes.
 */
import { closeSync, existsSync, openSync, renameSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { LogsSpec } from '../base/sandbox-config.ts';

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

export type LogLimits = { readonly maxFileBytes: number; readonly maxLineBytes: number; readonly files: number };

export function logLimits({ logs }: { readonly logs?: LogsSpec }): LogLimits {
  const maxFileBytes = logs?.maxBytes ?? MAX_FILE_BYTES;
  const maxLineBytes = Math.min(MAX_LINE_BYTES, Math.floor(maxFileBytes / LINES_IN_A_FILE));
  return { maxFileBytes, maxLineBytes, files: logs?.files ?? FILES };
}

const nowMicros = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000);

export class LogWriter {
  readonly #path: string;
  readonly #limits: LogLimits;
  readonly #clock: () => number;
  #fd: number;
  #bytes = 0;
  #lost = 0;

  /** Begins a new file. */
  constructor(path: string, limits: Partial<LogLimits> = {}, clock: () => number = nowMicros) {
    this.#path = path;
    this.#limits = { ...logLimits({}), ...limits };
    this.#clock = clock;
    this.#fd = openSync(path, 'w', 0o600);
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
    const emit = (piece: { line: string; more: boolean }): void => {
      this.#write({ t: began, stream, line: piece.line, ...(piece.more ? { more: true } : {}) });
      began = this.#clock();
    };
    socket.on('data', (chunk: Buffer) => {
      if (!lines.isInside) began = this.#clock();
      lines.add(chunk, emit);
    });
    // A pipe has nothing to fail with but its end.
    socket.on('error', () => undefined);
    const ended = new Promise<void>((resolve) => {
      socket.once('close', () => {
        lines.flush(emit);
        resolve();
      });
    });
    return { ended, stop: () => socket.destroy() };
  }

  #write(line: LogLine): void {
    try {
      if (this.#lost > 0) {
        const note = { t: line.t, stream: 'jailor', line: `${this.#lost} lines could not be written` } as const;
        this.#append(note);
        this.#lost = 0;
      }
      this.#append(line);
    } catch {
      // A full disk must not stop the process that is logged.
      this.#lost++;
    }
  }

  #append(line: LogLine): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    if (this.#bytes > 0 && this.#bytes + bytes.length > this.#limits.maxFileBytes) this.#rotate();
    writeSync(this.#fd, bytes);
    this.#bytes += bytes.length;
  }

  #rotate(): void {
    closeSync(this.#fd);
    const name = (age: number): string => (age === 0 ? this.#path : `${this.#path}.${age}`);
    for (let age = this.#limits.files - 1; age > 0; age--)
      if (existsSync(name(age - 1))) renameSync(name(age - 1), name(age));
    this.#fd = openSync(this.#path, 'w', 0o600);
    this.#bytes = 0;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

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

  add(chunk: Buffer, emit: (piece: { line: string; more: boolean }) => void): void {
    let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
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
  flush(emit: (piece: { line: string; more: boolean }) => void): void {
    if (this.#rest.length > 0) emit({ line: this.#rest.toString('utf8'), more: false });
    this.#rest = Buffer.alloc(0);
  }
}
