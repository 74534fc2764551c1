/** Looks at the host's files, with failures that name the file and what led to it. */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { ComicranError, type ErrorCode, messageOf } from '../base/errors.ts';
import type { ReadAt } from './elf.ts';

/** From the sandbox's name to the thing in question: `square -> /usr/bin/node -> libfoo.so.1`. */
export type Chain = readonly string[];

/** What brought something into the sandbox, for messages and for the `why` of the full configuration. */
export type Origin = {
  readonly chain: Chain;
  /** What kind of need: `library`, `configuration`, the name of a rule. */
  readonly rule: string;
  /** The path in the sandbox of what needs it; of what the configuration itself names, the key. */
  readonly by: string;
};

export function chainText(chain: Chain): string {
  return chain.join(' -> ');
}

export function systemCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}

const HINTS: Readonly<Record<string, string>> = {
  'config.symlink-loop': 'Correct the links on this machine, or name the file that they should lead to.',
  'config.missing-file':
    'Install what it belongs to, or correct the path; relative paths start at the configuration file.',
};

/** What a failed look at `path` means. */
export function fileError(path: string, chain: Chain, cause: unknown): ComicranError {
  const code = systemCode(cause);
  const [kind, problem]: [ErrorCode, string] =
    code === 'ELOOP'
      ? ['config.symlink-loop', 'its symbolic links form a loop']
      : code === 'ENOENT'
        ? ['config.missing-file', 'it does not exist']
        : code === 'ENOTDIR'
          ? ['config.missing-file', 'it lies below something that is not a directory']
          : code === 'EACCES' || code === 'EPERM'
            ? ['config.missing-file', 'it cannot be read: permission denied']
            : ['config.missing-file', `it cannot be read: ${code ?? messageOf(cause)}`];
  const hint = code === 'EACCES' || code === 'EPERM' ? 'Run configer as a user who may read it.' : HINTS[kind]!;
  return new ComicranError(kind, `${path}: ${problem} (${chainText(chain)})`, { hint, cause });
}

/** As lstat(2). @throws ComicranError */
export function look(path: string, chain: Chain): Stats {
  try {
    return lstatSync(path);
  } catch (cause) {
    throw fileError(path, chain, cause);
  }
}

export function linkTargetOf(path: string, chain: Chain): string {
  try {
    return readlinkSync(path);
  } catch (cause) {
    throw fileError(path, chain, cause);
  }
}

/** Every symbolic link followed. @throws ComicranError */
export function realPath(path: string, chain: Chain): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw fileError(path, chain, cause);
  }
}

export function kindOf(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  if (stats.isFIFO()) return 'a named pipe';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}

/**
 * Calls `use` with an open regular file. Opened without waiting, so that a named pipe cannot hold it up.
 *
 * @throws ComicranError if it cannot be read or is not a regular file.
 */
export function withFile<T>(path: string, chain: Chain, use: (readAt: ReadAt, stats: Stats) => T): T {
  const descriptor = openFile(path, chain);
  try {
    return use((offset, length) => readUpTo(descriptor, offset, length), fstatSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

/** The caller closes it. @throws ComicranError if it cannot be read or is not a regular file. */
export function openFile(path: string, chain: Chain): number {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    if (systemCode(cause) === 'ENXIO') throw notAFile(path, chain, 'a socket');
    throw fileError(path, chain, cause);
  }
  const stats = fstatSync(descriptor);
  if (stats.isFile()) return descriptor;
  closeSync(descriptor);
  throw notAFile(path, chain, kindOf(stats));
}

export function notAFile(path: string, chain: Chain, kind: string): ComicranError {
  return new ComicranError('config.bad-path', `${path}: it is ${kind}, not a file (${chainText(chain)})`, {
    hint: 'Name a regular file.',
  });
}

function readUpTo(descriptor: number, offset: number, length: number): Buffer {
  const size = fstatSync(descriptor).size;
  // Not more than there is: a damaged file may ask for any length.
  const buffer = Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
  let filled = 0;
  while (filled < buffer.length) {
    const count = readSync(descriptor, buffer, filled, buffer.length - filled, offset + filled);
    if (count === 0) break;
    filled += count;
  }
  return buffer.subarray(0, filled);
}
