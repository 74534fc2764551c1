/** Reads what jailor has written of a sandbox's stdout and stderr: JSON lines {t, stream, line}, rotated files first. */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { currentInode, LogFile, openNewer } from './log-files.ts';

export type LoggedLine = {
  readonly unixUs: number;
  readonly stream: string;
  readonly text: string;
  /** The line was too long: the next one goes on with it. */
  readonly more: boolean;
};

/** What a sandbox wrote on the machines that it was on before, beside its log. */
const EARLIER = '.earlier';
/** Most bytes of it that go along. */
export const MAX_CARRIED_BYTES = 1 << 20;

const FOLLOW_POLL_MS = 200;

/** @returns undefined for a line that is not whole: jailor may have been killed in the middle of it. */
function parseLogLine(line: string): LoggedLine | undefined {
  try {
    const {
      t,
      stream,
      line: text,
      more,
    } = JSON.parse(line) as { t: number; stream: string; line: string; more?: true };
    return typeof t === 'number' && typeof stream === 'string' && typeof text === 'string'
      ? { unixUs: t, stream, text, more: more === true }
      : undefined;
  } catch {
    return undefined;
  }
}

const parsed = (lines: readonly string[]): LoggedLine[] => lines.map(parseLogLine).filter((line) => line !== undefined);

/** Of one file of a log that nobody writes to any more, or is to be read once. */
function linesOf(path: string): string[] {
  using file = LogFile.open(path);
  return file?.lines() ?? [];
}

/** Everything that is there, as it was when this began. @returns the current file, to go on with. */
function readAll(path: string): { readonly lines: string[]; readonly current: LogFile | undefined } {
  const files = openNewer(path);
  const lines = [...linesOf(`${path}${EARLIER}`), ...files.flatMap((file) => file.lines())];
  for (const file of files.slice(0, -1)) file[Symbol.dispose]();
  return { lines, current: files.at(-1) };
}

/** The last part of everything that a sandbox has written, in whole lines, for the machine that it moves to. */
export function logToCarry(path: string): Buffer {
  const { lines, current } = readAll(path);
  current?.[Symbol.dispose]();
  const kept: string[] = [];
  let bytes = 0;
  for (const line of lines.toReversed()) {
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
 * @param path of the log; `<path>.1` is what was rotated away, and so on.
 * @param options `tail`: the last so many lines; 0: all. `follow`: until the signal is aborted, or the log is removed.
 */
export async function* readLog(
  path: string,
  options: {
    readonly tail: number;
    readonly follow: boolean;
    readonly signal: AbortSignal;
    readonly pollMs?: number;
  },
): AsyncGenerator<LoggedLine> {
  let { lines, current } = readAll(path);
  try {
    yield* options.tail > 0 ? parsed(lines.slice(-options.tail)) : parsed(lines);
    while (options.follow && !options.signal.aborted) {
      await sleep(options.pollMs ?? FOLLOW_POLL_MS, undefined, { signal: options.signal }).catch(() => undefined);
      if (!existsSync(dirname(path))) return;
      const now = currentInode(path);
      const before = current;
      // First the name, then the text: what has been turned over by now is not written to any more.
      lines = before?.lines() ?? [];
      if (now !== undefined && now !== before?.inode) {
        const newer = openNewer(path, before?.inode);
        lines.push(...newer.flatMap((file) => file.lines()));
        for (const file of [before, ...newer.slice(0, -1)]) file?.[Symbol.dispose]();
        current = newer.at(-1);
      }
      yield* parsed(lines);
    }
  } finally {
    current?.[Symbol.dispose]();
  }
}
