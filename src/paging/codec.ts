/**
 * Messages to bytes and back: a tag byte (messages.ts) and the fields, little-endian, lists and texts behind a 32-bit
 * length. A run is the number of its first page, u64, and how many there are, u32. The bytes of pages stand at the end
 * and are not copied. The length of the whole is the channel's business, and so is that nobody has changed it on the way.
 */
import { assert, unreachable } from '../base/assert.ts';
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import {
  DESTINATION_TAGS,
  type DestinationMessage,
  MAX_MESSAGE_BYTES,
  MAX_PAGES,
  MAX_RUNS,
  MAX_TEXT_BYTES,
  PURPOSES,
  SOURCE_TAGS,
  type SourceMessage,
} from './messages.ts';
import { countPages, PAGE_BYTES, type PageRun } from './page-range.ts';

/** One page beyond the last that x86-64 can have: 57 bits of address. */
const PAGE_LIMIT = 1n << 45n;
const RUN_BYTES = 12;

/** @returns the message in one part, or in two where it has pages. */
export function encodeMessage(message: DestinationMessage | SourceMessage): readonly Uint8Array[] {
  switch (message.type) {
    case 'OPEN':
      return [new ByteWriter(8).u8(DESTINATION_TAGS.OPEN).u32(message.version).u8(PURPOSES[message.purpose]).finish()];
    case 'WANT':
      return [writeRuns(DESTINATION_TAGS.WANT, message.runs)];
    case 'DONE':
      return [Buffer.from([DESTINATION_TAGS.DONE])];
    case 'OPENED':
      return [new ByteWriter(8).u8(SOURCE_TAGS.OPENED).u32(message.version).finish()];
    case 'PAGES':
      assert(message.bytes.length === countPages(message.runs) * PAGE_BYTES, 'pages of another length than their runs');
      return [writeRuns(SOURCE_TAGS.PAGES, message.runs), message.bytes];
    case 'REFUSED':
      return [
        new ByteWriter(256)
          .u8(SOURCE_TAGS.REFUSED)
          .bytes(clipped(message.code))
          .bytes(clipped(message.message))
          .finish(),
      ];
    default:
      return unreachable(message);
  }
}

function clipped(text: string): Uint8Array {
  const bytes = new Uint8Array(MAX_TEXT_BYTES);
  return bytes.subarray(0, new TextEncoder().encodeInto(text, bytes).written);
}

function writeRuns(tag: number, runs: readonly PageRun[]): Buffer {
  assert(runs.length > 0 && runs.length <= MAX_RUNS, `${runs.length} runs in one message`);
  assert(countPages(runs) <= MAX_PAGES, `${countPages(runs)} pages in one message`);
  const bytes = Buffer.allocUnsafe(5 + runs.length * RUN_BYTES);
  bytes[0] = tag;
  bytes.writeUInt32LE(runs.length, 1);
  for (const [index, { page, count }] of runs.entries()) {
    bytes.writeBigUInt64LE(BigInt(page), 5 + index * RUN_BYTES);
    bytes.writeUInt32LE(count, 13 + index * RUN_BYTES);
  }
  return bytes;
}

/** @param bytes one whole message. @throws ComicranError peer.protocol */
export function decodeDestinationMessage(bytes: Uint8Array): DestinationMessage {
  const input = reader(bytes, 'a paging message of the destination');
  const tag = input.u8();
  let message: DestinationMessage;
  if (tag === DESTINATION_TAGS.OPEN) message = { type: 'OPEN', version: input.u32(), purpose: readPurpose(input) };
  else if (tag === DESTINATION_TAGS.WANT) message = { type: 'WANT', runs: readRuns(input) };
  else if (tag === DESTINATION_TAGS.DONE) message = { type: 'DONE' };
  else return unknown(input, tag, DESTINATION_TAGS);
  input.end();
  return message;
}

/** @param bytes one whole message; the result may have views into it. @throws ComicranError peer.protocol */
export function decodeSourceMessage(bytes: Uint8Array): SourceMessage {
  const input = reader(bytes, 'a paging message of the source');
  const tag = input.u8();
  let message: SourceMessage;
  if (tag === SOURCE_TAGS.PAGES) {
    const runs = readRuns(input);
    const length = countPages(runs) * PAGE_BYTES;
    if (length !== input.remaining) input.fail(`${length} bytes of pages announced, ${input.remaining} there`);
    message = { type: 'PAGES', runs, bytes: input.raw(length) };
  } else if (tag === SOURCE_TAGS.OPENED) message = { type: 'OPENED', version: input.u32() };
  else if (tag === SOURCE_TAGS.REFUSED)
    message = { type: 'REFUSED', code: input.text(MAX_TEXT_BYTES), message: input.text(MAX_TEXT_BYTES) };
  else return unknown(input, tag, SOURCE_TAGS);
  input.end();
  return message;
}

function reader(bytes: Uint8Array, what: string): ByteReader {
  const input = new ByteReader(bytes, what, 'peer.protocol');
  if (bytes.length > MAX_MESSAGE_BYTES) input.fail(`${bytes.length} bytes, ${MAX_MESSAGE_BYTES} is the most`);
  return input;
}

function unknown(input: ByteReader, tag: number, known: Readonly<Record<string, number>>): never {
  const names = Object.entries(known).map(([name, number]) => `${number} ${name}`);
  return input.fail(`the unknown tag ${tag}; known are ${names.join(', ')}`);
}

function readPurpose(input: ByteReader): keyof typeof PURPOSES {
  const value = input.u8();
  if (value === PURPOSES.faults) return 'faults';
  if (value === PURPOSES.fill) return 'fill';
  return input.fail(`a connection for purpose ${value}; known are 1 faults, 2 fill`);
}

function readRuns(input: ByteReader): PageRun[] {
  let pages = 0;
  const runs = input.list((): PageRun => {
    const page = input.u64();
    const count = input.u32();
    pages += count;
    if (page >= PAGE_LIMIT) input.fail(`page ${page}, which no address space has`);
    if (count === 0 || pages > MAX_PAGES) input.fail(`a run of ${count} pages, ${pages} in all`);
    return { page: Number(page), count };
  }, MAX_RUNS);
  if (runs.length === 0) input.fail('no runs');
  return runs;
}
