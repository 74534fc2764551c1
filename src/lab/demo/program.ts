import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ComicranError } from '../../base/errors.ts';

/** The executable, as a user would call it. */
const COMICRAN = join(import.meta.dirname, '../../../bin/comicran');

export type RunOptions = {
  /** Told each piece of the program's stderr (its progress). */
  readonly onProgress?: (text: string) => void;
  /** Exit codes that are no failure, beside 0. */
  readonly accept?: readonly number[];
  /** In a process group of its own, so that Ctrl-C does not reach it. */
  readonly shielded?: boolean;
};

export type RunningProgram = {
  /** Its stdout, when it has ended. Rejects with its stderr when it fails. */
  readonly finished: Promise<string>;
  /** Asks for its end (SIGTERM). */
  stop(): void;
};

/** What a program says at its end about why it failed, without the progress before that. */
function complaintIn(text: string): string {
  const at = text.lastIndexOf('\ncomicran: ');
  return text.slice(at + 1).trim();
}

/** Starts `comicran` with `args`. The caller waits for its end. */
export function startComicran(args: readonly string[], options: RunOptions = {}): RunningProgram {
  const child = spawn(COMICRAN, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: options.shielded ?? false,
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    options.onProgress?.(text);
  });
  const ended = new Promise<number | string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const finished = ended.then((status) => {
    if (status === 0 || options.accept?.some((code) => code === status)) return out;
    throw new ComicranError(
      'lab.state',
      `'comicran ${args.join(' ')}' failed (${status}): ${complaintIn(err) || out.trim()}`,
    );
  });
  return { finished, stop: () => void child.kill('SIGTERM') };
}

/** Runs `comicran` with `args` to its end. @returns its stdout. @throws with its stderr when it fails. */
export async function runComicran(args: readonly string[], options: RunOptions = {}): Promise<string> {
  return await startComicran(args, options).finished;
}

/** The last JSON value of a program's output (an object or array that may stand on several lines, or a last line). */
export function parseJsonOutput(text: string): unknown {
  const trimmed = text.trim();
  try {
    return JSON.parse(trimmed);
  } catch {
    return JSON.parse(trimmed.slice(trimmed.lastIndexOf('\n') + 1));
  }
}
