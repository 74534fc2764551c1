/** Reads what jailor has written of a sandbox's stdout and stderr: JSON lines {t, stream, line}, rotated files first. */
import { closeSync, existsSync, openSync, readSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export type LoggedLine = { readonly unixUs: number; readonly stream: string; readonly text: string };

/** What a sandbox wrote on the machines that it was on before, beside its log. */
const EARLIER = '.earlier';
/** Most bytes of it that go along. */
export const MAX_CARRIED_BYTES = 1 << 20;

const FOLLOW_POLL_MS = 200;
const READ_BYTES = 64 << 10;

/** @returns undefined for a line that is not whole: jailor may have been killed in the middle of it. */
export function parseLogLine(line: string): LoggedLine | undefined {
  try {
    const { t, stream, line: text } = JSON.parse(line) as { t: number; stream: string; line: string };
    return typeof t === 'number' && typeof stream === 'string' && typeof text === 'string'
      ? { unixUs: t, stream, text }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whole lines from `offset` on. @returns where the next read begins. */
function readFrom(path: string, offset: number): { lines: string[]; next: number } {
  const file = openSync(path, 'r');
  try {
    const chunks: Buffer[] = [];
    let position = offset;
    for (;;) {
      const chunk = Buffer.alloc(READ_BYTES);
      const count = readSync(file, chunk, 0, READ_BYTES, position);
      if (count === 0) break;
      chunks.push(chunk.subarray(0, count));
      position += count;
    }
    const bytes = Buffer.concat(chunks);
    const end = bytes.lastIndexOf(0x0a) + 1;
    const text = bytes.toString('utf8', 0, end);
    return { lines: text === '' ? [] : text.slice(0, -1).split('\n'), next: offset + end };
  } finally {
    closeSync(file);
  }
}

const parsed = (lines: readonly string[]): LoggedLine[] => lines.map(parseLogLine).filter((line) => line !== undefined);

const linesOf = (path: string): string[] => (existsSync(path) ? readFrom(path, 0).lines : []);

const olderLines = (path: string): string[] => [...linesOf(`${path}${EARLIER}`), ...linesOf(`${path}.1`)];

/** The last part of everything that a sandbox has written, in whole lines, for the machine that it moves to. */
export function logToCarry(path: string): Buffer {
  const kept: string[] = [];
  let bytes = 0;
  for (const line of [...olderLines(path), ...linesOf(path)].toReversed()) {
    bytes += Buffer.byteLength(line) + 1;
    if (bytes > MAX_CARRIED_BYTES) break;
    kept.push(`${line}\n`);
  }
  return Buffer.from(kept.toReversed().join(''));
}

/** Puts down what {@link logToCarry} gave on another machine. */
export function keepCarriedLog(path: string, log: Uint8Array): void {
  writeFileSync(`${path}${EARLIER}`, log.subarray(0, MAX_CARRIED_BYTES), { mode: 0o600 });
}

/**
 * @param path of the log; `<path>.1` is what was rotated away.
 * @param tail the last so many lines; 0: all.
 */
export async function* readLog(
  path: string,
  options: { readonly tail: number; readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<LoggedLine> {
  const old = olderLines(path);
  const now = existsSync(path) ? readFrom(path, 0) : { lines: [], next: 0 };
  const lines = parsed([...old, ...now.lines]);
  yield* options.tail > 0 ? lines.slice(-options.tail) : lines;
  let offset = now.next;
  while (options.follow && !options.signal.aborted) {
    await sleep(FOLLOW_POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
    if (!existsSync(path)) return;
    // Shorter than before: it was rotated, and what follows begins a new file.
    if (statSync(path).size < offset) offset = 0;
    const more = readFrom(path, offset);
    offset = more.next;
    yield* parsed(more.lines);
  }
}
