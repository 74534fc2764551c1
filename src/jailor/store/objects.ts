/**
 * The store: every file of every sandbox of a state directory, once. A name says the content (sha256) and the permission
 * bits. What has a name here is complete and right: it was verified while it was copied, nobody writes to it, and
 * records.ts notices where somebody has.
 *
 *     <store>/SHA256.MODE            a file
 *     <store>/incoming-SHA256.MODE   one that somebody takes in, who has it locked
 *     <store>/records                records.ts
 *     <store>/trees/KEY/             tree.ts
 *     <store>/lock                   held while trees are made or repaired, and while anything is removed
 */
import { createHash, type Hash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { ComicranError } from '../../base/errors.ts';
import type { FileEntry } from '../../base/sandbox-config.ts';
import { openLocked } from './locked.ts';
import type { Records } from './records.ts';
import type { StoreUse } from './use.ts';

const CHUNK_BYTES = 1 << 20;
/** Between two looks at what else there is to do. */
const CHUNKS_AT_A_TIME = 8;

export const OBJECT = /^[0-9a-f]{64}\.[0-7]{4}$/;
export const INCOMING = /^incoming-/;

export type Wanted = Pick<FileEntry, 'source' | 'sha256' | 'size' | 'mode'>;

export const objectName = ({ sha256, mode }: Pick<Wanted, 'sha256' | 'mode'>): string =>
  `${sha256}.${mode.toString(8).padStart(4, '0')}`;
export const storeLock = (store: string): string => join(store, 'lock');

export function makeStore(store: string): void {
  mkdirSync(store, { recursive: true, mode: 0o700 });
}

/** @returns undefined where there is none. */
export function lookAt(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false });
}

export type Condition = 'intact' | 'absent' | { readonly damaged: string };

/** Whether a file has the content that it should, read only where the records do not vouch for it. They are noted, not saved. */
export function examine(path: string, file: Wanted, records: Records, use: StoreUse): Condition {
  const stat = lookAt(path);
  if (stat === undefined) return 'absent';
  if (records.vouchFor(stat, file.sha256)) return 'intact';
  if (!stat.isFile()) return { damaged: 'it is not a regular file' };
  if (Number(stat.size) !== file.size) return { damaged: `it has ${stat.size} bytes, not ${file.size}` };
  const found = digestOf(path);
  use.rehashedBytes += file.size;
  if (found !== file.sha256) return { damaged: `its sha256 is ${found}` };
  records.note(stat, file.sha256);
  return 'intact';
}

/**
 * Has a file in the store; takes it in from its source where it is not there, or not what it should be. Two who want the same
 * new file make one copy: the second waits for the first.
 *
 * @throws ComicranError config.missing-file, config.changed-file: the source is not (or no longer) what was configured.
 */
export async function obtain(store: string, file: Wanted, records: Records, use: StoreUse): Promise<void> {
  const object = join(store, objectName(file));
  if (examine(object, file, records, use) === 'intact') return;
  makeStore(store);
  const incoming = await openIncoming(store, file);
  try {
    // Somebody else may have taken it in meanwhile.
    records.reload();
    const condition = examine(object, file, records, use);
    if (condition === 'intact') {
      rmSync(incoming.path, { force: true });
      return;
    }
    if (condition !== 'absent') use.say(`the stored copy of ${file.source} is damaged (${condition.damaged})`);
    const from = openSource(file, condition);
    try {
      await copyVerified(from, incoming, file);
    } finally {
      closeSync(from);
    }
    finish(incoming, object, file, records);
    use.copiedFiles++;
    use.copiedBytes += file.size;
  } catch (thrown) {
    rmSync(incoming.path, { force: true });
    throw thrown;
  } finally {
    closeSync(incoming.fd);
  }
}

type Incoming = { readonly fd: number; readonly path: string };

/** Locked, and empty: what somebody who was killed has left in it is gone. */
async function openIncoming(store: string, file: Wanted): Promise<Incoming> {
  const path = join(store, `incoming-${objectName(file)}`);
  const fd = await openLocked(path, 'a', 'alone');
  ftruncateSync(fd);
  return { fd, path };
}

/** What has come is complete and right: it gets its name. */
function finish({ fd, path }: Incoming, object: string, file: Wanted, records: Records): void {
  fchmodSync(fd, file.mode);
  renameSync(path, object);
  records.note(fstatSync(fd, { bigint: true }), file.sha256);
  // Before whoever waits for this file looks at it.
  records.save();
}

function openSource(file: Wanted, stored: Condition): number {
  try {
    // Where a named pipe has taken its place, this does not wait for who writes to it.
    return openSync(file.source, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const why = typeof stored === 'string' ? '' : ` and its stored copy is damaged (${stored.damaged})`;
    throw new ComicranError('config.missing-file', `the file ${file.source} cannot be read${why}`, {
      hint: 'Install it on this machine, or write the configuration again with comicran configer.',
      cause,
    });
  }
}

async function copyVerified(from: number, to: Incoming, file: Wanted): Promise<void> {
  const stat = fstatSync(from);
  if (!stat.isFile()) throw changed(file, 'it is not a regular file');
  if (stat.size !== file.size) throw changed(file, `it has ${stat.size} bytes, not ${file.size}`);
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(file.size, 1)));
  for (let chunks = 1; ; chunks++) {
    const count = readSync(from, chunk);
    if (count === 0) break;
    append(to.fd, hash, chunk.subarray(0, count));
    if (chunks % CHUNKS_AT_A_TIME === 0) await new Promise(setImmediate);
  }
  const found = hash.digest('hex');
  if (found !== file.sha256) throw changed(file, `its sha256 is ${found}, not ${file.sha256}`);
  // Some programs compare times with what they have compiled from a file (Python).
  futimesSync(to.fd, stat.atime, stat.mtime);
}

function append(fd: number, hash: Hash, bytes: Uint8Array): void {
  hash.update(bytes);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

/** Of a file that fits into no single buffer, too. */
export function digestOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) hash.update(chunk.subarray(0, count));
    return hash.digest('hex');
  } finally {
    closeSync(fd);
  }
}

function changed(file: Wanted, how: string): ComicranError {
  return new ComicranError('config.changed-file', `the file ${file.source} has changed: ${how}`, {
    hint: 'Write the configuration again with comicran configer, or bring the file back.',
  });
}

/** A file that comes from another machine, in parts; until it is complete and right nobody sees it. */
export class Arrival {
  readonly #incoming: Incoming;
  readonly #hash = createHash('sha256');
  readonly #file: Wanted;
  #bytes = 0;

  private constructor(incoming: Incoming, file: Wanted) {
    this.#incoming = incoming;
    this.#file = file;
  }

  static async begin(store: string, file: Wanted): Promise<Arrival> {
    makeStore(store);
    return new Arrival(await openIncoming(store, file), file);
  }

  get receivedBytes(): number {
    return this.#bytes;
  }

  /** @throws ComicranError peer.protocol: more has come than was announced. */
  add(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    if (this.#bytes > this.#file.size) throw this.#wrong(`more than ${this.#file.size} bytes have come`);
    append(this.#incoming.fd, this.#hash, bytes);
  }

  /** @throws ComicranError peer.protocol: it is not what was announced; nothing stays. */
  end(store: string, records: Records, modifiedMs: number): void {
    try {
      const found = this.#hash.digest('hex');
      if (found !== this.#file.sha256) throw this.#wrong(`its sha256 is ${found}, not ${this.#file.sha256}`);
      futimesSync(this.#incoming.fd, modifiedMs / 1000, modifiedMs / 1000);
      finish(this.#incoming, join(store, objectName(this.#file)), this.#file, records);
      closeSync(this.#incoming.fd);
    } catch (thrown) {
      this.discard();
      throw thrown;
    }
  }

  discard(): void {
    rmSync(this.#incoming.path, { force: true });
    closeSync(this.#incoming.fd);
  }

  #wrong(how: string): ComicranError {
    return new ComicranError('peer.protocol', `the file ${this.#file.source} did not arrive: ${how}`);
  }
}
