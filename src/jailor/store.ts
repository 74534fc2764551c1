/**
 * The store: every file of every sandbox of a state directory, once. A name says the content (sha256) and the permission
 * bits; a sandbox's root holds hard links to it, so that ten sandboxes of one server share one copy, on disk and in the
 * page cache. What has a name here is complete and right: it was verified while it was copied, and nobody writes to it.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  fchmodSync,
  fstatSync,
  futimesSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import type { FileEntry } from '../base/sandbox-config.ts';
import { identifyProcess, isAlive } from '../linux/process-identity.ts';

const CHUNK_BYTES = 1 << 20;
/** Who cleans the store may come in between, but not again and again. */
const PLACE_ATTEMPTS = 5;
const OBJECT = /^[0-9a-f]{64}\.[0-7]{4}$/;
const INCOMING = /^incoming-(\d+)-(\d+)-/;

type Wanted = Pick<FileEntry, 'source' | 'sha256' | 'size' | 'mode'>;

const codeOf = (thrown: unknown): string | undefined => (thrown as NodeJS.ErrnoException).code;

function objectPath(store: string, file: Wanted): string {
  return join(store, `${file.sha256}.${file.mode.toString(8).padStart(4, '0')}`);
}

/**
 * Puts a file of the store at `target`, which must not exist; takes it into the store first if it is not there.
 *
 * @throws ComicranError config.missing-file, config.changed-file: the source is not (or no longer) what was configured.
 */
export function placeFromStore(store: string, file: Wanted, target: string): void {
  const object = objectPath(store, file);
  for (let attempt = 1; ; attempt++) {
    if (!isStored(object, file.size)) takeIn(store, file, object);
    try {
      place(object, file, target);
      return;
    } catch (thrown) {
      // Removed as unused since it was looked at or taken in; otherwise it is the target that cannot be.
      const removed = codeOf(thrown) === 'ENOENT' && !isStored(object, file.size);
      if (!removed || attempt === PLACE_ATTEMPTS) throw thrown;
    }
  }
}

function place(object: string, file: Wanted, target: string): void {
  try {
    linkSync(object, target);
  } catch (thrown) {
    // Another file system, or a file with as many links as it can have.
    if (codeOf(thrown) !== 'EXDEV' && codeOf(thrown) !== 'EMLINK') throw thrown;
    copyFileSync(object, target);
    chmodSync(target, file.mode);
  }
}

function isStored(object: string, size: number): boolean {
  return statSync(object, { throwIfNoEntry: false })?.size === size;
}

function takeIn(store: string, file: Wanted, object: string): void {
  mkdirSync(store, { recursive: true, mode: 0o700 });
  const self = identifyProcess(process.pid);
  const incoming = join(store, `incoming-${process.pid}-${self?.startTicks ?? 0}-${file.sha256}`);
  const from = openSource(file);
  try {
    copyVerified(from, incoming, file);
    renameSync(incoming, object);
  } catch (thrown) {
    rmSync(incoming, { force: true });
    throw thrown;
  } finally {
    closeSync(from);
  }
}

function openSource(file: Wanted): number {
  try {
    return openSync(file.source, 'r');
  } catch (cause) {
    throw new ComicranError('config.missing-file', `the file ${file.source} cannot be read`, {
      hint: 'Install it on this machine, or write the configuration again with comicran configer.',
      cause,
    });
  }
}

function copyVerified(from: number, incoming: string, file: Wanted): void {
  const stat = fstatSync(from);
  if (!stat.isFile()) throw changed(file, 'it is not a regular file');
  if (stat.size !== file.size) throw changed(file, `it has ${stat.size} bytes, not ${file.size}`);
  const to = openSync(incoming, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(file.size, 1)));
    for (let count = readSync(from, chunk); count > 0; count = readSync(from, chunk)) {
      hash.update(chunk.subarray(0, count));
      for (let at = 0; at < count; ) at += writeSync(to, chunk, at, count - at);
    }
    const found = hash.digest('hex');
    if (found !== file.sha256) throw changed(file, `its sha256 is ${found}, not ${file.sha256}`);
    fchmodSync(to, file.mode);
    // Some programs compare times with what they have compiled from a file (Python).
    futimesSync(to, stat.atime, stat.mtime);
  } finally {
    closeSync(to);
  }
}

function changed(file: Wanted, how: string): ComicranError {
  return new ComicranError('config.changed-file', `the file ${file.source} has changed: ${how}`, {
    hint: 'Write the configuration again with comicran configer, or bring the file back.',
  });
}

export type Removed = { readonly files: number; readonly bytes: number };

/**
 * Removes the stored files that no sandbox has a hard link to. A jailor that places one of them at this moment takes it in
 * once more.
 */
export function removeUnused(store: string): Removed {
  let files = 0;
  let bytes = 0;
  for (const name of namesIn(store)) {
    if (!OBJECT.test(name)) continue;
    const path = join(store, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined || stat.nlink > 1) continue;
    rmSync(path, { force: true });
    files++;
    bytes += stat.size;
  }
  return { files, bytes };
}

/** Removes what a jailor that was killed had begun to take in. */
export function removeAbandoned(store: string): void {
  for (const name of namesIn(store)) {
    const match = INCOMING.exec(name);
    if (match === null || isAlive({ pid: Number(match[1]), startTicks: Number(match[2]) })) continue;
    rmSync(join(store, name), { force: true });
  }
}

function namesIn(store: string): string[] {
  try {
    return readdirSync(store);
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return []; // no store yet
    throw thrown;
  }
}
