import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import { MESSAGE_BYTES } from '../linux/userfaultfd.ts';
import { applyEvent, EventJournal, readJournal } from './event-journal.ts';
import { MissingPages } from './missing-pages.ts';

const directory = mkdtempSync(join(tmpdir(), 'comicran-journal-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'journal');
const PAGE = 4096n;

/** struct uffd_msg, with pages for addresses. */
function message(event: number, ...words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(MESSAGE_BYTES);
  bytes[0] = event;
  for (const [index, word] of words.entries()) bytes.writeBigUInt64LE(BigInt(word) * PAGE, 8 + index * 8);
  return bytes;
}
const fault = (page: number): Buffer => message(0x12, 0, page);
const remap = (from: number, to: number, count: number): Buffer => message(0x14, from, to, count);
const remove = (start: number, end: number): Buffer => message(0x15, start, end);

/** Reads messages as if a userfaultfd had told them at once. */
function tell(journal: EventJournal, missing: MissingPages, ...messages: readonly Buffer[]): void {
  const file = join(directory, 'messages');
  writeFileSync(file, Buffer.concat(messages));
  const descriptor = openSync(file, 'r');
  for (let read = journal.read(descriptor); read.length > 0; read = journal.read(descriptor))
    for (const each of read) applyEvent(missing, each);
  closeSync(descriptor);
}

test('a successor finds what the process has thrown away and moved, in order', () => {
  const missing = MissingPages.at([{ page: 10, count: 10 }]);
  const journal = new EventJournal(path, () => missing);
  assert.deepEqual(readJournal(path).runs(), missing.runs());
  tell(journal, missing, fault(11), remove(12, 14), fault(15));
  tell(journal, missing, fault(11), fault(16), fault(17));
  tell(journal, missing, remap(10, 30, 4), remove(30, 31));
  assert.deepEqual(readJournal(path).runs(), [
    { page: 14, count: 6, source: 14 },
    { page: 31, count: 1, source: 11 },
  ]);
  assert.deepEqual(readJournal(path).runs(), missing.runs());
  journal.close();
  // The successor of the successor.
  const next = new EventJournal(path, () => missing);
  tell(next, missing, remove(14, 15));
  assert.deepEqual(readJournal(path).runs(), missing.runs());
  next.close();
});

test('faults take no room, and a journal that is full is begun anew', () => {
  const missing = MissingPages.at([{ page: 0, count: 100_000 }]);
  const journal = new EventJournal(path, () => missing);
  const length = readFileSync(path).length;
  tell(journal, missing, ...Array.from({ length: 70_000 }, (_, page) => fault(page)));
  tell(journal, missing, ...Array.from({ length: 70_000 }, (_, page) => remove(page, page + 1)));
  assert.deepEqual(missing.runs(), [{ page: 70_000, count: 30_000, source: 70_000 }]);
  assert.deepEqual(readJournal(path).runs(), missing.runs());
  assert.ok(readFileSync(path).length <= length + 8192);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('journal')),
    ['journal'],
  );
  journal.close();
});

test('what is no journal, or a damaged one, is refused', () => {
  const damaged = (change: (bytes: Buffer) => Buffer): void => {
    const missing = MissingPages.at([
      { page: 10, count: 10 },
      { page: 30, count: 1 },
    ]);
    new EventJournal(path, () => missing).close();
    writeFileSync(path, change(readFileSync(path)));
    assert.throws(
      () => readJournal(path),
      (error) => error instanceof ComicranError && error.code === 'migration.journal',
    );
  };
  damaged(() => Buffer.alloc(0));
  damaged((bytes) => bytes.fill(0, 0, 1));
  damaged((bytes) => bytes.fill(0xff, 8, 16));
  damaged((bytes) => bytes.fill(0xff, 16, 24));
  damaged((bytes) => bytes.subarray(0, 30));
});
