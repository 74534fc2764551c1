/** The parts of messages that are more than a number or a text (codec.ts). */
import { assert } from '../base/assert.ts';
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import type { ProcessEnd } from '../base/process-end.ts';
import { DIGEST_BYTES, type Flow, type LogEntry } from '../base/traffic-log.ts';
import {
  type FailureText,
  type ImageMessage,
  MAX_DATAGRAM_BYTES,
  MAX_FRAGMENTS,
  MAX_IMAGE_BYTES,
  MAX_NAME_BYTES,
  MAX_RANGES,
  MAX_SENTENCE_BYTES,
  PAGE_BYTES,
  type PagesMessage,
} from './messages.ts';
import { MODES, type ModeName } from './modes.ts';
import type { CarriedDatagram, PageRange } from './ports.ts';

export function readMode(input: ByteReader): ModeName {
  const name = input.text(MAX_NAME_BYTES);
  const mode = MODES.find((known) => known === name);
  return mode ?? input.fail(`mode ${JSON.stringify(name)}; known are ${MODES.join(', ')}`);
}

export function readImage(input: ByteReader): Omit<ImageMessage, 'type'> {
  const totalBytes = input.u32();
  const offset = input.u32();
  if (totalBytes > MAX_IMAGE_BYTES) input.fail(`an image of ${totalBytes} bytes, ${MAX_IMAGE_BYTES} is the most`);
  const bytes = input.raw(input.remaining);
  if (offset + bytes.length > totalBytes)
    input.fail(`${bytes.length} bytes at ${offset} of an image of ${totalBytes} bytes`);
  return { totalBytes, offset, bytes };
}

export function writeRanges(out: ByteWriter, ranges: readonly PageRange[]): ByteWriter {
  return out.list(ranges, ({ start, length }) => out.u64(start).u32(length));
}

export function readRanges(input: ByteReader): PageRange[] {
  return input.list((): PageRange => {
    const range = { start: input.u64(), length: input.u32() };
    if (range.length === 0 || range.length % PAGE_BYTES !== 0 || range.start % BigInt(PAGE_BYTES) !== 0n)
      input.fail(`a range of ${range.length} bytes at 0x${range.start.toString(16)}: not whole pages`);
    return range;
  }, MAX_RANGES);
}

export function readPages(input: ByteReader): PagesMessage {
  const ranges = readRanges(input);
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  if (total !== input.remaining) input.fail(`ranges of ${total} bytes, ${input.remaining} bytes of pages`);
  return { type: 'PAGES', ranges, bytes: input.raw(total) };
}

/** Bytes that a datagram takes in a DATAGRAMS message. */
export function encodedDatagramBytes(datagram: CarriedDatagram): number {
  return 1 + 2 * datagram.sourceAddress.length + 4 + 4 + datagram.payload.length;
}

/** Address length in bytes, both addresses, both ports, payload. */
export function writeDatagram(out: ByteWriter, datagram: CarriedDatagram): void {
  const addressBytes = datagram.sourceAddress.length;
  assert(addressBytes === 4 || addressBytes === 16, `an address of ${addressBytes} bytes`);
  assert(datagram.destinationAddress.length === addressBytes, 'addresses of two families in one datagram');
  assert(datagram.payload.length <= MAX_DATAGRAM_BYTES, `a datagram of ${datagram.payload.length} bytes`);
  out.u8(addressBytes).raw(datagram.sourceAddress).u16(datagram.sourcePort);
  out.raw(datagram.destinationAddress).u16(datagram.destinationPort).bytes(datagram.payload);
}

export function readDatagram(input: ByteReader): CarriedDatagram {
  const addressBytes = input.u8();
  if (addressBytes !== 4 && addressBytes !== 16) input.fail(`an address of ${addressBytes} bytes; known are 4 and 16`);
  return {
    sourceAddress: input.raw(addressBytes),
    sourcePort: input.u16(),
    destinationAddress: input.raw(addressBytes),
    destinationPort: input.u16(),
    payload: input.bytes(MAX_DATAGRAM_BYTES),
  };
}

export function writeFailure(out: ByteWriter, failure: FailureText): ByteWriter {
  return out
    .bytes(clipped(failure.code, MAX_NAME_BYTES))
    .bytes(clipped(failure.message, MAX_SENTENCE_BYTES))
    .bytes(clipped(failure.hint, MAX_SENTENCE_BYTES));
}

export function readFailure(input: ByteReader): FailureText {
  return {
    code: input.text(MAX_NAME_BYTES),
    message: input.text(MAX_SENTENCE_BYTES),
    hint: input.text(MAX_SENTENCE_BYTES),
  };
}

/** As many whole characters of the text as fit: the reason of a failure must not fail for its length. */
function clipped(text: string, maxBytes: number): Uint8Array {
  const bytes = new Uint8Array(maxBytes);
  return bytes.subarray(0, new TextEncoder().encodeInto(text, bytes).written);
}

const LOG_INPUT = 1;
const LOG_OUTPUT = 2;

/** Bytes that an entry takes in a LOG message. */
export function encodedLogEntryBytes(entry: LogEntry): number {
  if (entry.kind === 'output') return 1 + 12 + 4 + 2 + DIGEST_BYTES;
  return 1 + 4 + 4 + entry.frames.reduce((sum, frame) => sum + 4 + frame.length, 0);
}

/** Kind, then: number and packets; or flow, number, length and digest. */
export function writeLogEntry(out: ByteWriter, entry: LogEntry): void {
  if (entry.kind === 'input') {
    out.u8(LOG_INPUT).u32(entry.index);
    out.list(entry.frames, (frame) => out.bytes(frame));
    return;
  }
  assert(entry.digest.length === DIGEST_BYTES, `a digest of ${entry.digest.length} bytes`);
  const { localAddress, localPort, remoteAddress, remotePort } = entry.flow;
  assert(localAddress.length === 4 && remoteAddress.length === 4, 'a flow whose addresses are not IPv4');
  out.u8(LOG_OUTPUT).raw(localAddress).u16(localPort).raw(remoteAddress).u16(remotePort);
  out.u32(entry.index).u16(entry.length).raw(entry.digest);
}

export function readLogEntry(input: ByteReader): LogEntry {
  const kind = input.u8();
  if (kind === LOG_INPUT) {
    const index = input.u32();
    const frames = input.list(() => input.bytes(MAX_DATAGRAM_BYTES), MAX_FRAGMENTS);
    return { kind: 'input', index, frames };
  }
  if (kind !== LOG_OUTPUT) input.fail(`an entry of the log of kind ${kind}`);
  const flow: Flow = {
    localAddress: input.raw(4),
    localPort: input.u16(),
    remoteAddress: input.raw(4),
    remotePort: input.u16(),
  };
  return { kind: 'output', flow, index: input.u32(), length: input.u16(), digest: input.raw(DIGEST_BYTES) };
}

const LIVES = 0;
const EXITED = 1;
const SIGNALLED = 2;
const NOT_SEEN = 3;

/** Whether and how it has ended; then its exit code, or the name of the signal. */
export function writeEnd(out: ByteWriter, end: ProcessEnd | undefined): ByteWriter {
  if (end === undefined) return out.u8(LIVES);
  if (end.code !== null) return out.u8(EXITED).u8(end.code);
  return end.signal === null ? out.u8(NOT_SEEN) : out.u8(SIGNALLED).text(end.signal);
}

export function readEnd(input: ByteReader): ProcessEnd | undefined {
  const kind = input.u8();
  switch (kind) {
    case LIVES:
      return undefined;
    case EXITED:
      return { code: input.u8(), signal: null };
    case SIGNALLED:
      return { code: null, signal: input.text(MAX_NAME_BYTES) };
    case NOT_SEEN:
      return { code: null, signal: null };
    default:
      return input.fail(`an end of a process of kind ${kind}`);
  }
}
