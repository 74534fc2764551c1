/**
 * What the kernel has told a fault service, kept for its successor: whoever serves a process after another one was killed
 * must know what the process has thrown away, moved or inherited since, and the kernel tells that once.
 *
 *     magic, number of runs │ runs: page, count, source │ 0 … │ messages of userfaultfd, 32 bytes each │ 0 …
 *
 * The kernel writes messages into the file itself: the service reads its userfaultfd into a mapping of the file, so that there
 * is no moment in which a message has been taken and is not in it. The runs are what was missing when the file was begun.
 * Faults among the messages mean nothing to a successor, and make room again.
 *
 * The file has to outlive the program, not the machine: nobody waits for a disk.
 */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { createSharedFile, type SharedFile } from '../linux/shared-file.ts';
import { decodeMessage, type FaultMessage, MESSAGE_BYTES, readMessages } from '../linux/userfaultfd.ts';
import { MissingPages, type MissingRun } from './missing-pages.ts';
import { pageOf } from './page-range.ts';

const MAGIC = 0x31474e4947415043n; // "CPAGING1"
const HEADER_BYTES = 16;
const RUN_BYTES = 24;
/** Room for messages in a new file; the other end of it is begun anew when this is used up. */
const MESSAGES_BYTES = 1 << 20;
/** Messages taken with one read. */
const BATCH_BYTES = 64 * MESSAGE_BYTES;
const PAGE_MASK = 4095;

export class EventJournal {
  readonly #path: string;
  readonly #missing: () => MissingPages;
  #file: SharedFile;
  #at: number;

  /**
   * Begins a journal, in the place of the one that an earlier service has left.
   *
   * @param path the caller removes the file when nothing is missing any more.
   * @param missing what is missing now, and later whenever it is asked for.
   */
  constructor(path: string, missing: () => MissingPages) {
    this.#path = path;
    this.#missing = missing;
    const begun = begin(path, missing().runs());
    this.#file = begun.file;
    this.#at = begun.at;
  }

  /** What waits in a userfaultfd; it is in the journal when it is here. */
  read(descriptor: number): FaultMessage[] {
    if (this.#at + BATCH_BYTES > this.#file.bytes.length) this.#beginAnew();
    const start = this.#at;
    const batch = this.#file.bytes.subarray(start, start + BATCH_BYTES);
    const length = readMessages(descriptor, batch);
    const messages: FaultMessage[] = [];
    for (let at = 0; at < length; at += MESSAGE_BYTES) {
      const message = decodeMessage(batch, at);
      messages.push(message);
      // Faults behind the last event are written over by the next read.
      if (message.event !== 'fault') this.#at = start + at + MESSAGE_BYTES;
    }
    return messages;
  }

  /** Every message so far has been acted on: what is missing now says all of it. */
  #beginAnew(): void {
    const begun = begin(this.#path, this.#missing().runs());
    this.#file.close();
    this.#file = begun.file;
    this.#at = begun.at;
  }

  /** The file stays. */
  close(): void {
    this.#file.close();
  }
}

function begin(path: string, runs: readonly MissingRun[]): { file: SharedFile; at: number } {
  const at = (HEADER_BYTES + runs.length * RUN_BYTES + PAGE_MASK) & ~PAGE_MASK;
  const next = `${path}.next`;
  rmSync(next, { force: true });
  const file = createSharedFile(next, at + MESSAGES_BYTES);
  file.bytes.writeBigUInt64LE(BigInt(runs.length), 8);
  for (const [index, { page, count, source }] of runs.entries())
    for (const [word, value] of [page, count, source].entries())
      file.bytes.writeBigUInt64LE(BigInt(value), HEADER_BYTES + index * RUN_BYTES + word * 8);
  file.bytes.writeBigUInt64LE(MAGIC, 0);
  // Who reads finds the old one or the new one, whole.
  renameSync(next, path);
  return { file, at };
}

/**
 * What was missing when the service that kept a journal ended, at most: pages that it had put are among it, and putting
 * them again is refused by the kernel.
 *
 * @throws ComicranError migration.journal
 */
export function readJournal(path: string): MissingPages {
  const bytes = readFileSync(path);
  const damaged = (what: string): ComicranError =>
    new ComicranError('migration.journal', `the journal of missing pages ${path} is damaged: ${what}`);
  if (bytes.length < HEADER_BYTES || bytes.readBigUInt64LE(0) !== MAGIC) throw damaged('it is none of this version');
  const count = Number(bytes.readBigUInt64LE(8));
  const end = HEADER_BYTES + count * RUN_BYTES;
  if (!Number.isSafeInteger(end) || end > bytes.length) throw damaged(`${count} runs in ${bytes.length} bytes`);
  const runs: MissingRun[] = [];
  let last = 0;
  for (let at = HEADER_BYTES; at < end; at += RUN_BYTES) {
    const [page = 0, length = 0, source = 0] = [0, 8, 16].map((word) => Number(bytes.readBigUInt64LE(at + word)));
    if (page < last || length < 1) throw damaged(`runs out of order at byte ${at}`);
    last = page + length;
    runs.push({ page, count: length, source });
  }
  const missing = new MissingPages(runs);
  for (
    let at = (end + PAGE_MASK) & ~PAGE_MASK;
    at + MESSAGE_BYTES <= bytes.length && bytes[at] !== 0;
    at += MESSAGE_BYTES
  )
    applyEvent(missing, decodeMessage(bytes, at));
  return missing;
}

/** What an event means for what is missing. Faults and forks mean nothing to it. */
export function applyEvent(missing: MissingPages, message: FaultMessage): void {
  if (message.event === 'remap') missing.move(pageOf(message.from), pageOf(message.to), pageOf(message.length));
  else if (message.event === 'remove' || message.event === 'unmap')
    missing.remove(pageOf(message.start), pageOf(message.end));
}
